//! The second message of a handshake: made for a peer, and accepted from one.

use std::time::Instant;

use model::{PresharedKey, PublicKey};
use rand::Rng;
use x25519_dalek::StaticSecret;

use super::{
    cookie::CookieJar,
    initiation::{Introduction, Pending},
    message::{RESPONSE, RESPONSE_LENGTH, bytes_at, number_at, put, response},
    noise::agree,
    session::{Initiator, Session},
};

/// Answers a proven initiation. Returns the session and the message.
pub(crate) fn answer(
    introduction: Introduction,
    index: u32,
    preshared_key: &PresharedKey,
    jar: &mut CookieJar,
    rng: &mut impl Rng,
    now: Instant,
) -> Option<(Session, Vec<u8>)> {
    let Introduction { peer, sender, ephemeral: theirs, mut noise, .. } = introduction;
    let ephemeral = StaticSecret::from(rng.random::<[u8; 32]>());
    let public = PublicKey(*x25519_dalek::PublicKey::from(&ephemeral).as_bytes());
    let mut message = vec![0; RESPONSE_LENGTH];
    put(&mut message, 0, &[RESPONSE]);
    put(&mut message, response::SENDER, &index.to_le_bytes());
    put(&mut message, response::RECEIVER, &sender.to_le_bytes());
    put(&mut message, response::EPHEMERAL.start, &public.0);

    noise.mix_ephemeral(&public);
    noise.mix_key(&*agree(&ephemeral, &theirs)?);
    noise.mix_key(&*agree(&ephemeral, &peer)?);
    let key = noise.mix_preshared_key(preshared_key.expose());
    noise.seal(&key, message.get_mut(response::NOTHING)?)?;
    jar.sign(&mut message, now);

    let [from_initiator, from_responder] = noise.split();
    let session = Session::new((index, sender), (&from_responder, &from_initiator), Initiator::Them, now)?;
    Some((session, message))
}

/// Accepts the response to an initiation of ours. `None` if somebody else made it.
pub(crate) fn accept(
    message: &[u8],
    pending: &Pending,
    private: &StaticSecret,
    preshared_key: &PresharedKey,
    now: Instant,
) -> Option<Session> {
    let theirs = PublicKey(bytes_at(message, response::EPHEMERAL));
    let mut noise = pending.noise.clone();
    noise.mix_ephemeral(&theirs);
    noise.mix_key(&*agree(&pending.ephemeral, &theirs)?);
    noise.mix_key(&*agree(private, &theirs)?);
    let key = noise.mix_preshared_key(preshared_key.expose());
    let [] = noise.open(&key, message.get(response::NOTHING)?)?;

    let [from_initiator, from_responder] = noise.split();
    let indices = (pending.index, number_at(message, response::SENDER));
    Session::new(indices, (&from_initiator, &from_responder), Initiator::Us, now)
}
