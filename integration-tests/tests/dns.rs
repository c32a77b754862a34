//! DNS queries: answered by the stub, by the site, or by the previous resolver.

use std::net::IpAddr;

use integration_tests::{
    account::{PORTAL_NAME, PRIVATE_NAME, PRIVATE_TEXT},
    stand::{Stand, with_stand},
    topology::{PORTAL, RESOLVER},
};

fn dig(stand: &Stand, question: &str) -> anyhow::Result<Vec<String>> {
    let answer = stand.client().program(&format!("dig +short +time=5 +tries=2 {question}")).check()?;
    Ok(answer.text().lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "needs root: make integration"]
fn resolvers_answer_over_udp_and_tcp() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

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
fn every_sentinel_answers_all_query_types() -> anyhow::Result<()> {
    with_stand(|stand| {
        let both = format!("nameserver {}\nnameserver {}\n", RESOLVER.v4, RESOLVER.v6);
        stand.client().write("/etc/resolv.conf", &both)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let sentinels = resolv_conf.lines().filter_map(|line| line.strip_prefix("nameserver ")?.parse().ok());
        let sentinels: Vec<IpAddr> = sentinels.collect();
        assert!(matches!(sentinels.as_slice(), [IpAddr::V4(_), IpAddr::V6(_)]), "{resolv_conf}");

        for sentinel in sentinels {
            for transport in ["+notcp", "+tcp"] {
                let ask = |question: &str| dig(stand, &format!("@{sentinel} {transport} {question}"));
                let (v4, v6) = (ask(&format!("{PRIVATE_NAME} A"))?, ask(&format!("{PRIVATE_NAME} AAAA"))?);
                assert!(v4.len() == 4 && v4.iter().all(|ip| ip.starts_with("100.96.")), "{v4:?}");
                assert!(v6.len() == 4 && v6.iter().all(|ip| ip.starts_with("fd00:2021:1111:8000:")), "{v6:?}");
                for ours in [&v4[0], &v6[3]] {
                    assert_eq!(ask(&format!("-x {ours}"))?, [format!("{PRIVATE_NAME}.")]);
                }
                assert_eq!(ask(&format!("{} A", PRIVATE_NAME.to_uppercase()))?, v4);
                assert_eq!(ask(&format!("{PRIVATE_NAME} HTTPS"))?, [""; 0]);
                assert_eq!(ask(&format!("{PRIVATE_NAME} TXT"))?, [format!("\"{PRIVATE_TEXT}\"")]);
                assert_eq!(ask(&format!("{PORTAL_NAME} A"))?, [PORTAL.v4.to_string()]);
                assert_eq!(ask(&format!("{PORTAL_NAME} AAAA"))?, [PORTAL.v6.to_string()]);
                let question = format!("dig @{sentinel} {transport} use-application-dns.net A");
                let canary = stand.client().program(&question).check()?.text();
                assert!(canary.contains("status: NXDOMAIN"), "{canary}");
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn unknown_name_is_nxdomain() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        let answer = stand.client().program("dig nothing.public.example A").check()?.text();

        assert!(answer.contains("status: NXDOMAIN"), "{answer}");
        Ok(())
    })
}
