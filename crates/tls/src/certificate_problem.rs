//! Problems with certificates.

use std::io;

use rustls::{CertificateError, Error};

/// A problem with a certificate, classified by its remedy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateProblem {
    /// Expired, or the clock of this machine is ahead.
    Expired,
    /// Not yet valid, or the clock of this machine is behind.
    NotYetValid,
    /// This machine does not trust the issuer.
    UnknownIssuer,
    /// Issued for another name.
    NameMismatch,
    /// Missing, malformed, or rejected for another reason.
    Other,
}

impl CertificateProblem {
    /// The problem with the certificate, if `error` was caused by one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())? {
            Error::InvalidCertificate(error) => Some(match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::NameMismatch
                }
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
    fn only_certificate_errors_are_classified() {
        let error = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let problem = |cause| CertificateProblem::of(&error(Error::InvalidCertificate(cause)));
        assert_eq!(problem(CertificateError::Expired), Some(CertificateProblem::Expired));
        assert_eq!(problem(CertificateError::NotValidYet), Some(CertificateProblem::NotYetValid));
        assert_eq!(problem(CertificateError::UnknownIssuer), Some(CertificateProblem::UnknownIssuer));
        assert_eq!(problem(CertificateError::NotValidForName), Some(CertificateProblem::NameMismatch));
        assert_eq!(problem(CertificateError::Revoked), Some(CertificateProblem::Other));
        assert_eq!(CertificateProblem::of(&error(Error::NoCertificatesPresented)), Some(CertificateProblem::Other));
        assert_eq!(CertificateProblem::of(&error(Error::DecryptError)), None);
        assert_eq!(CertificateProblem::of(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
