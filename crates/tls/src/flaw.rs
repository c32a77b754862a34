//! What is wrong with a certificate.

use std::io;

use rustls::{CertificateError, Error};

/// What is wrong with a certificate, as far as somebody can do something about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Its time is over, or this machine's clock is ahead.
    Expired,
    /// Its time has not come, or this machine's clock is behind.
    NotYetValid,
    /// This machine does not trust who has issued it.
    UnknownIssuer,
    /// It is somebody else's.
    OtherName,
    /// There is none, or it makes no sense.
    Other,
}

impl Flaw {
    /// Whether a connection failed because of the certificate, and why.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())? {
            Error::InvalidCertificate(flaw) => Some(match flaw {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                _ => Self::Other,
            }),
            Error::NoCertificatesPresented => Some(Self::Other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_blamed_on_certificates() {
        let error = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let blamed = |flaw| Flaw::of(&error(Error::InvalidCertificate(flaw)));
        assert_eq!(blamed(CertificateError::Expired), Some(Flaw::Expired));
        assert_eq!(blamed(CertificateError::NotValidYet), Some(Flaw::NotYetValid));
        assert_eq!(blamed(CertificateError::UnknownIssuer), Some(Flaw::UnknownIssuer));
        assert_eq!(blamed(CertificateError::NotValidForName), Some(Flaw::OtherName));
        assert_eq!(blamed(CertificateError::Revoked), Some(Flaw::Other));
        assert_eq!(Flaw::of(&error(Error::NoCertificatesPresented)), Some(Flaw::Other));
        assert_eq!(Flaw::of(&error(Error::DecryptError)), None);
        assert_eq!(Flaw::of(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
