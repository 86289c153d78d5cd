use crate::pkcs7::signed_data;
use crate::{
    Certificate, Error, HashAlgorithm, SignedUpdate, Signer, ToBeSigned, Update, VariableName,
    chain,
};

/// An update that waits for its signature.
///
/// # Examples
///
/// Two steps, with the key somewhere else:
///
/// ```no_run
/// # fn demo(update: efivars::Update, certificate: efivars::Certificate, hsm: impl Fn(&[u8]) -> Vec<u8>) -> Result<(), efivars::Error> {
/// let prepared = update.prepare(&certificate)?;
/// let signature = hsm(prepared.to_be_signed().message());
/// let signed = prepared.attach(&signature)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    update: Update,
    certificate: Certificate,
    request: ToBeSigned,
}

impl Prepared {
    pub(crate) fn new(
        update: Update,
        certificate: Certificate,
        message: alloc::vec::Vec<u8>,
    ) -> Self {
        Self {
            update,
            certificate,
            request: ToBeSigned::new(message, HashAlgorithm::Sha256),
        }
    }

    /// The variable.
    #[must_use]
    pub const fn name(&self) -> &VariableName {
        self.update.name()
    }

    /// The certificate whose key is to sign.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What is to be signed.
    #[must_use]
    pub const fn to_be_signed(&self) -> &ToBeSigned {
        &self.request
    }

    /// The second step: takes the raw RSA signature, as long as the key's modulus.
    ///
    /// # Errors
    ///
    /// [`Error::KeyMismatch`] when the certificate does not verify it.
    pub fn attach(self, signature: &[u8]) -> Result<SignedUpdate, Error> {
        if !chain::verify_digest(
            &self.certificate,
            self.request.hash_algorithm(),
            self.request.digest(),
            signature,
        ) {
            return Err(Error::KeyMismatch);
        }
        let pkcs7 = signed_data(&self.certificate, self.update.chain(), signature);
        self.update.finish(&pkcs7)
    }

    /// Has the signer sign, and attaches what it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Signer`] and [`Error::KeyMismatch`].
    pub fn sign(self, signer: &dyn Signer) -> Result<SignedUpdate, Error> {
        let signature = signer.sign(&self.request).map_err(Error::Signer)?;
        self.attach(&signature)
    }
}
