//! Signing in two steps: what is to be signed, and the image with the signature attached.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::der;
use crate::edit::Edit;
use crate::error::Error;
use crate::hash::HashAlgorithm;
use crate::image::Image;
use crate::key::{KeyKind, PssParameters, PublicKey};
use crate::oid;
use crate::signed_data::IndirectData;
use crate::signer::{SignatureScheme, Signer, ToBeSigned};
use crate::table::{SignatureTable, TableEntry};
use crate::time::UnixTime;

/// What happens to signatures that the image already has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Existing {
    /// They stay, and the new one is added behind them; if the same certificate already has a valid signature with the
    /// same hash, nothing is added.
    #[default]
    Append,
    /// Those of the same certificate go, the others stay.
    ReplaceSameSigner,
    /// The one of this number (from 0) goes; the new one takes its place.
    Replace(usize),
    /// All go.
    ReplaceAll,
}

/// How an image is to be signed.
///
/// The defaults are what every firmware takes and what is the same each time: SHA-256, no signing time, no chain.
///
/// ```
/// # fn demo(image: authenticode::Image, certificate: &authenticode::Certificate, chain: Vec<authenticode::Certificate>,
/// #     key: &dyn authenticode::Signer) -> Result<(), authenticode::Error> {
/// use authenticode::{HashAlgorithm, Signing, UnixTime};
/// let signed = Signing::new(certificate)
///     .chain(chain)
///     .hash(HashAlgorithm::Sha384)
///     .signing_time(UnixTime(1_700_000_000))
///     .prepare(image)?
///     .sign(key)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Signing {
    certificate: Certificate,
    chain: Vec<Certificate>,
    hash: HashAlgorithm,
    time: Option<UnixTime>,
    existing: Existing,
    scheme: Option<SignatureScheme>,
    allow_refused: bool,
}

impl Signing {
    /// Signing with the key of this certificate.
    #[must_use]
    pub fn new(certificate: &Certificate) -> Self {
        Self {
            certificate: certificate.clone(),
            chain: Vec::new(),
            hash: HashAlgorithm::Sha256,
            time: None,
            existing: Existing::Append,
            scheme: None,
            allow_refused: false,
        }
    }

    /// Embeds these certificates after the signer's: intermediate authorities, not the root.
    #[must_use]
    pub fn chain(mut self, certificates: impl IntoIterator<Item = Certificate>) -> Self {
        self.chain.extend(certificates);
        self
    }

    /// The hash of image and signature. shim takes SHA-256 only.
    #[must_use]
    pub fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }

    /// Adds a signing time, which nothing checks and which makes each signature another.
    #[must_use]
    pub fn signing_time(mut self, time: UnixTime) -> Self {
        self.time = Some(time);
        self
    }

    /// What happens to signatures that are there.
    #[must_use]
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// The kind of signature, if not the usual one of the key.
    #[must_use]
    pub fn scheme(mut self, scheme: SignatureScheme) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Allows keys and schemes that firmware refuses: elliptic curves, Ed25519, PSS.
    #[must_use]
    pub fn allow_refused_by_firmware(mut self, allow: bool) -> Self {
        self.allow_refused = allow;
        self
    }

    fn scheme_for(&self, kind: KeyKind) -> Result<SignatureScheme, Error> {
        let scheme = self.scheme.unwrap_or(match kind {
            KeyKind::RsaPss => SignatureScheme::RsaPss,
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => SignatureScheme::Ecdsa,
            KeyKind::Ed25519 => SignatureScheme::Ed25519,
            KeyKind::Rsa { .. } | KeyKind::Unknown => SignatureScheme::RsaPkcs1,
        });
        let fits = match scheme {
            SignatureScheme::RsaPkcs1 => matches!(kind, KeyKind::Rsa { .. }),
            SignatureScheme::RsaPss => matches!(kind, KeyKind::Rsa { .. } | KeyKind::RsaPss),
            SignatureScheme::Ecdsa => {
                matches!(kind, KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521)
            }
            SignatureScheme::Ed25519 => kind == KeyKind::Ed25519,
        };
        if !fits {
            return Err(Error::Unsupported {
                what: "this kind of signature with the certificate's key",
            });
        }
        if scheme != SignatureScheme::RsaPkcs1 && !self.allow_refused {
            let key = if kind.is_for_firmware() {
                "RSA-PSS"
            } else {
                kind.name()
            };
            return Err(Error::KeyKindRefused { key });
        }
        Ok(scheme)
    }

    /// Computes what is to be signed.
    ///
    /// # Errors
    /// [`Error::NoCertificateDirectory`]; the errors of [`Image::digest_for_signing`]; [`Error::KeyKindRefused`];
    /// [`Error::BadTable`] if the image has a broken signature table that would stay; [`Error::NoSuchSignature`].
    pub fn prepare(self, image: Image) -> Result<Prepared, Error> {
        if image.layout.directory_offset.is_none() {
            return Err(Error::NoCertificateDirectory);
        }
        let scheme = self.scheme_for(self.certificate.key_kind())?;
        let digest = image.digest_for_signing(self.hash)?.digest();
        let count = image.entries().len();
        match self.existing {
            Existing::Replace(index) if index >= count => {
                return Err(Error::NoSuchSignature { index, count });
            }
            Existing::ReplaceAll => {}
            _ => {
                if let Some(problem) = image.table().problem() {
                    return Err(problem.into());
                }
            }
        }
        let content = IndirectData::encode(&digest);
        let value = der::Reader::new(&content).any("content")?.value;
        let mut attributes = alloc::vec![
            attribute(oid::CONTENT_TYPE, &der::oid(oid::SPC_INDIRECT_DATA)),
            attribute(
                oid::MESSAGE_DIGEST,
                &der::tlv(der::OCTET_STRING, &[self.hash.digest(value).as_bytes()])
            ),
        ];
        attributes.extend(
            self.time
                .map(|time| attribute(oid::SIGNING_TIME, &time.to_der())),
        );
        let message = der::set_of(der::SET, attributes);
        let to_be_signed = ToBeSigned::new(message, self.hash, scheme);
        Ok(Prepared {
            signing: self,
            image,
            content,
            to_be_signed,
        })
    }
}

fn attribute(kind: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::tlv(der::SET, &[value])])
}

/// An image and the bytes that the key has to sign for it.
///
/// ```
/// # fn demo(image: authenticode::Image, certificate: &authenticode::Certificate) -> Result<(), authenticode::Error> {
/// # fn key_store(digest: &[u8]) -> Vec<u8> { digest.to_vec() }
/// use authenticode::Prepared;
/// let prepared = Prepared::new(image, certificate)?;
/// let signature = key_store(prepared.to_be_signed().digest());
/// let signed = prepared.attach(&signature)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    signing: Signing,
    image: Image,
    content: Vec<u8>,
    to_be_signed: ToBeSigned,
}

impl Prepared {
    /// With the defaults of [`Signing`].
    ///
    /// # Errors
    /// As [`Signing::prepare`].
    pub fn new(image: Image, certificate: &Certificate) -> Result<Self, Error> {
        Signing::new(certificate).prepare(image)
    }

    /// What the key has to sign.
    #[must_use]
    pub fn to_be_signed(&self) -> &ToBeSigned {
        &self.to_be_signed
    }

    /// SpcIndirectDataContent, the structure with the image digest.
    #[must_use]
    pub fn indirect_data(&self) -> &[u8] {
        &self.content
    }

    /// Whether the image already has a valid signature by this certificate with this hash.
    #[must_use]
    pub fn is_already_signed(&self) -> bool {
        crate::verify::intact_signers(&self.image)
            .any(|(hash, signer)| hash == self.signing.hash && signer == self.signing.certificate)
    }

    /// Lets the signer sign, and attaches the result.
    ///
    /// # Errors
    /// [`Error::Signer`], and those of [`attach`](Self::attach).
    pub fn sign(self, signer: &dyn Signer) -> Result<Signed, Error> {
        let signature = signer.sign(&self.to_be_signed).map_err(Error::Signer)?;
        self.attach(&signature)
    }

    /// Attaches a signature, after checking it with the certificate.
    ///
    /// # Errors
    /// [`Error::SignatureMismatch`]; [`Error::Unsupported`] if the certificate's key cannot be read.
    pub fn attach(self, signature: &[u8]) -> Result<Signed, Error> {
        let key = self
            .signing
            .certificate
            .public_key()
            .ok_or(Error::Unsupported {
                what: "the certificate's key",
            })?;
        if !self.verifies(&key, signature) {
            return Err(Error::SignatureMismatch);
        }
        self.attach_unchecked(signature)
    }

    /// Attaches a signature without checking it, such as a placeholder of the right length.
    ///
    /// # Errors
    /// [`Error::BlobLength`].
    pub fn attach_unchecked(self, signature: &[u8]) -> Result<Signed, Error> {
        let pkcs7 = self.assemble(signature);
        let len = u64::try_from(pkcs7.len()).unwrap_or(u64::MAX);
        if !(260..=65_539).contains(&len) {
            return Err(Error::BlobLength { len });
        }
        let entry = TableEntry::for_pkcs7(&pkcs7)?;
        let already = self.signing.existing == Existing::Append && self.is_already_signed();
        let mut table = self.image.table().clone();
        match self.signing.existing {
            _ if already => {}
            Existing::Append => {
                table.extend_new([entry]);
            }
            Existing::ReplaceSameSigner => {
                table.remove_if(|entry| {
                    crate::verify::is_signed_by(entry, &self.signing.certificate)
                });
                table.push(entry);
            }
            Existing::Replace(index) => table.replace(index, entry)?,
            Existing::ReplaceAll => {
                table.clear();
                table.push(entry);
            }
        }
        Ok(Signed {
            image: self.image,
            table,
            pkcs7,
        })
    }

    fn verifies(&self, key: &PublicKey, signature: &[u8]) -> bool {
        let request = &self.to_be_signed;
        match request.scheme() {
            SignatureScheme::RsaPkcs1 => key.verify_pkcs1(request.typed_digest(), signature),
            SignatureScheme::RsaPss => key.verify_pss(self.pss(), request.message(), signature),
            SignatureScheme::Ecdsa => key.verify_ecdsa(request.typed_digest(), signature),
            SignatureScheme::Ed25519 => key.verify_ed25519(request.message(), signature),
        }
    }

    fn pss(&self) -> PssParameters {
        PssParameters {
            hash: self.signing.hash,
            salt_len: self.signing.hash.digest_len(),
        }
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        match self.to_be_signed.scheme() {
            SignatureScheme::RsaPkcs1 => der::algorithm(oid::RSA),
            SignatureScheme::RsaPss => self.pss().encode(),
            SignatureScheme::Ecdsa => der::sequence(&[&der::oid(match self.signing.hash {
                HashAlgorithm::Sha1 => oid::ECDSA_SHA1,
                HashAlgorithm::Sha256 => oid::ECDSA_SHA256,
                HashAlgorithm::Sha384 => oid::ECDSA_SHA384,
                HashAlgorithm::Sha512 => oid::ECDSA_SHA512,
            })]),
            SignatureScheme::Ed25519 => der::sequence(&[&der::oid(oid::ED25519)]),
        }
    }

    /// The ContentInfo.
    fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        let certificate = &self.signing.certificate;
        let version = [der::INTEGER, 1, 1];
        let hash = der::algorithm(oid::of_hash(self.signing.hash));
        let message = self.to_be_signed.message();
        let value = der::Reader::new(message)
            .any("attributes")
            .map(|set| set.value)
            .unwrap_or_default();
        let signer = der::sequence(&[
            &version,
            &der::sequence(&[certificate.issuer_der(), certificate.serial_der()]),
            &hash,
            &der::tlv(der::context(0), &[value]),
            &self.signature_algorithm(),
            &der::tlv(der::OCTET_STRING, &[signature]),
        ]);
        let mut certificates = alloc::vec![certificate.as_der()];
        for extra in &self.signing.chain {
            if !certificates.contains(&extra.as_der()) {
                certificates.push(extra.as_der());
            }
        }
        let content = der::tlv(der::context(0), &[&self.content]);
        let signed_data = der::sequence(&[
            &version,
            &der::tlv(der::SET, &[&hash]),
            &der::sequence(&[&der::oid(oid::SPC_INDIRECT_DATA), &content]),
            &der::tlv(der::context(0), &certificates),
            &der::tlv(der::SET, &[&signer]),
        ]);
        der::sequence(&[
            &der::oid(oid::SIGNED_DATA),
            &der::tlv(der::context(0), &[&signed_data]),
        ])
    }
}

/// An image with its new signature, to be written.
#[derive(Clone, Debug)]
pub struct Signed {
    image: Image,
    table: SignatureTable,
    pkcs7: Vec<u8>,
}

impl Signed {
    /// The new signature by itself: the ContentInfo, as `sbsign --detached` writes it.
    #[must_use]
    pub fn pkcs7(&self) -> &[u8] {
        &self.pkcs7
    }

    /// The signature table with the new signature.
    #[must_use]
    pub fn table(&self) -> &SignatureTable {
        &self.table
    }

    /// The change of the file, to be written in one of several ways.
    ///
    /// # Errors
    /// As [`Image::with_table`].
    pub fn edit(&self) -> Result<Edit, Error> {
        self.image.with_table(&self.table)
    }

    /// Writes the signature to the end of the file that was hashed, and what belongs to it into the header.
    ///
    /// # Errors
    /// As [`Edit::append_to`].
    #[cfg(feature = "std")]
    pub fn append_to<W: std::io::Write + std::io::Seek>(&self, file: &mut W) -> Result<(), Error> {
        self.edit()?.append_to(file)
    }
}
