//! Names: which the client answers, which the site, and which the resolver that was there before.

use integration_tests::{
    account::{PORTAL_NAME, PRIVATE_NAME, PRIVATE_TEXT},
    stand::{Stand, tell},
    topology::PORTAL,
};

fn dig(stand: &Stand, question: &str) -> anyhow::Result<Vec<String>> {
    let answer = stand.client().program(&format!("dig +short +time=5 +tries=2 {question}")).check()?;
    Ok(answer.text().lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "needs root: make integration"]
fn everybody_answers_what_they_know_over_udp_and_tcp() -> anyhow::Result<()> {
    tell(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        for transport in ["+notcp", "+tcp"] {
            let ours = dig(stand, &format!("{transport} {PRIVATE_NAME} A"))?;
            assert_eq!(ours.len(), 4, "{ours:?}");
            assert!(ours.iter().all(|ip| ip.starts_with("100.")), "{ours:?}");
            let text = dig(stand, &format!("{transport} {PRIVATE_NAME} TXT"))?;
            assert_eq!(text, [format!("\"{PRIVATE_TEXT}\"")]);
            let public = dig(stand, &format!("{transport} {PORTAL_NAME} AAAA"))?;
            assert_eq!(public, [PORTAL.v6.to_string()]);
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_name_that_nobody_knows_does_not_exist() -> anyhow::Result<()> {
    tell(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        let answer = stand.client().program("dig nothing.public.example A").check()?.text();

        assert!(answer.contains("status: NXDOMAIN"), "{answer}");
        Ok(())
    })
}
