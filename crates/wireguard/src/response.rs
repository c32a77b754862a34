//! The second handshake message: creating one for a peer, and accepting one from a peer.

use std::time::Instant;

use model::{PresharedKey, PublicKey};
use rand::Rng;
use x25519_dalek::StaticSecret;

use crate::{
    cookie::CookieJar,
    initiation::{ReceivedInitiation, SentInitiation},
    message::{RESPONSE, RESPONSE_LENGTH, bytes_at, response, u32_at, write_at},
    noise::diffie_hellman,
    session::{Role, Session},
};

/// Responds to an authenticated initiation. Returns the session and the message to send.
pub(crate) fn create(
    initiation: ReceivedInitiation,
    index: u32,
    preshared_key: &PresharedKey,
    jar: &mut CookieJar,
    rng: &mut impl Rng,
    now: Instant,
) -> Option<(Session, Vec<u8>)> {
    let ReceivedInitiation { peer, sender_index, ephemeral: theirs, mut noise, .. } = initiation;
    let ephemeral = StaticSecret::from(rng.random::<[u8; 32]>());
    let public = PublicKey(*x25519_dalek::PublicKey::from(&ephemeral).as_bytes());
    let mut message = vec![0; RESPONSE_LENGTH];
    write_at(&mut message, 0, &[RESPONSE]);
    write_at(&mut message, response::SENDER, &index.to_le_bytes());
    write_at(&mut message, response::RECEIVER, &sender_index.to_le_bytes());
    write_at(&mut message, response::EPHEMERAL.start, &public.0);

    noise.mix_ephemeral(&public);
    noise.mix_key(&*diffie_hellman(&ephemeral, &theirs)?);
    noise.mix_key(&*diffie_hellman(&ephemeral, &peer)?);
    let key = noise.mix_preshared_key(preshared_key.expose());
    noise.encrypt_and_hash(&key, message.get_mut(response::EMPTY)?)?;
    jar.append_macs(&mut message, now);

    let [from_initiator, from_responder] = noise.split();
    let session = Session::new((index, sender_index), (&from_responder, &from_initiator), Role::Responder, now)?;
    Some((session, message))
}

/// Accepts the response to an initiation that we sent. `None` if it fails authentication.
pub(crate) fn accept(
    message: &[u8],
    initiation: &SentInitiation,
    private: &StaticSecret,
    preshared_key: &PresharedKey,
    now: Instant,
) -> Option<Session> {
    let theirs = PublicKey(bytes_at(message, response::EPHEMERAL));
    let mut noise = initiation.noise.clone();
    noise.mix_ephemeral(&theirs);
    noise.mix_key(&*diffie_hellman(&initiation.ephemeral, &theirs)?);
    noise.mix_key(&*diffie_hellman(private, &theirs)?);
    let key = noise.mix_preshared_key(preshared_key.expose());
    let [] = noise.decrypt_and_hash(&key, message.get(response::EMPTY)?)?;

    let [from_initiator, from_responder] = noise.split();
    let indices = (initiation.index, u32_at(message, response::SENDER));
    Session::new(indices, (&from_initiator, &from_responder), Role::Initiator, now)
}
