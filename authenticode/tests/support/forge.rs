//! Makes signatures and images that signers do not make: for tests here, and for the boots in `examples/bootlab`.
//!
//! Written on its own, without the crate's internals, so that both do not share their mistakes.

use authenticode::HashAlgorithm;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};

pub(crate) const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
pub(crate) const RSA: &str = "1.2.840.113549.1.1.1";
pub(crate) const RSA_PSS: &str = "1.2.840.113549.1.1.10";
pub(crate) const SHA256_RSA: &str = "1.2.840.113549.1.1.11";
pub(crate) const SHA512_RSA: &str = "1.2.840.113549.1.1.13";
pub(crate) const INDIRECT: &str = "1.3.6.1.4.1.311.2.1.4";
pub(crate) const PE_IMAGE: &str = "1.3.6.1.4.1.311.2.1.15";
pub(crate) const INDIVIDUAL: &str = "1.3.6.1.4.1.311.2.1.21";
pub(crate) const NESTED: &str = "1.3.6.1.4.1.311.2.4.1";
pub(crate) const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
pub(crate) const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";

pub(crate) use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};

pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let len = value.len();
    let mut out = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        0x100..=0xffff => vec![tag, 0x82, (len >> 8) as u8, len as u8],
        _ => vec![tag, 0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8],
    };
    out.extend_from_slice(value);
    out
}

pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let numbers: Vec<u64> = dotted
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
    let mut value = vec![(numbers[0] * 40 + numbers[1]) as u8];
    for number in &numbers[2..] {
        let mut digits = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            digits.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        value.extend(digits.iter().rev());
    }
    tlv(6, &value)
}

pub(crate) fn algorithm(dotted: &str) -> Vec<u8> {
    seq(&[&oid(dotted), &[5, 0]])
}

pub(crate) fn hash_oid(hash: HashAlgorithm) -> &'static str {
    match hash {
        Sha1 => "1.3.14.3.2.26",
        Sha256 => "2.16.840.1.101.3.4.2.1",
        Sha384 => "2.16.840.1.101.3.4.2.2",
        _ => "2.16.840.1.101.3.4.2.3",
    }
}

pub(crate) fn digest(hash: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    hash.digest(data).as_bytes().to_vec()
}

/// A key for tests; nothing is protected by it.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) RsaPrivateKey);

impl Key {
    pub(crate) fn from_pem(text: &str) -> Self {
        Self(RsaPrivateKey::from_pkcs8_pem(text).unwrap())
    }

    pub(crate) fn new(bits: usize) -> Self {
        Self(RsaPrivateKey::new(&mut OsRng, bits).unwrap())
    }

    pub(crate) fn sign(&self, hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
        let digest = digest(hash, message);
        let info = seq(&[&algorithm(hash_oid(hash)), &tlv(4, &digest)]);
        let prefix = info[..info.len() - digest.len()].into();
        self.0
            .sign(
                Pkcs1v15Sign {
                    hash_len: Some(digest.len()),
                    prefix,
                },
                &digest,
            )
            .unwrap()
    }

    pub(crate) fn sign_pss(&self, message: &[u8]) -> Vec<u8> {
        self.0
            .sign_with_rng(
                &mut OsRng,
                Pss::new::<sha2::Sha256>(),
                &digest(Sha256, message),
            )
            .unwrap()
    }

    fn public(&self) -> Vec<u8> {
        let number = |bytes: Vec<u8>| {
            if bytes[0] < 0x80 {
                tlv(2, &bytes)
            } else {
                tlv(2, &[&[0], &bytes[..]].concat())
            }
        };
        let key = seq(&[
            &number(self.0.n().to_bytes_be()),
            &number(self.0.e().to_bytes_be()),
        ]);
        seq(&[&algorithm(RSA), &tlv(3, &[&[0], &key[..]].concat())])
    }
}

/// A certificate to be made.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) subject: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) serial: u8,
    pub(crate) validity: (&'static str, &'static str),
    pub(crate) ca: Option<bool>,
    pub(crate) path_len: Option<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) hash: HashAlgorithm,
}

pub(crate) fn extension(dotted: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    seq(&[&oid(dotted), flag, &tlv(4, value)])
}

pub(crate) fn name(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return seq(&[]);
    }
    seq(&[&tlv(
        0x31,
        &seq(&[&oid("2.5.4.3"), &tlv(0x0c, text.as_bytes())]),
    )])
}

impl Certificate {
    pub(crate) fn new(subject: &'static str, issuer: &'static str, serial: u8) -> Self {
        Self {
            subject,
            issuer,
            serial,
            validity: ("240101000000Z", "491231235959Z"),
            ca: None,
            path_len: None,
            extensions: Vec::new(),
            hash: Sha256,
        }
    }

    pub(crate) fn ca(mut self, ca: bool) -> Self {
        self.ca = Some(ca);
        self
    }

    pub(crate) fn path_len(mut self, len: u8) -> Self {
        self.path_len = Some(len);
        self
    }

    pub(crate) fn validity(mut self, from: &'static str, to: &'static str) -> Self {
        self.validity = (from, to);
        self
    }

    pub(crate) fn extension(mut self, encoded: Vec<u8>) -> Self {
        self.extensions.push(encoded);
        self
    }

    pub(crate) fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }

    pub(crate) fn sign(&self, key: &Key, issuer_key: &Key) -> Vec<u8> {
        let signature_oid = match self.hash {
            Sha1 => "1.2.840.113549.1.1.5",
            Sha256 => SHA256_RSA,
            Sha384 => "1.2.840.113549.1.1.12",
            _ => SHA512_RSA,
        };
        let validity = seq(&[
            &tlv(0x17, self.validity.0.as_bytes()),
            &tlv(0x17, self.validity.1.as_bytes()),
        ]);
        let mut extensions = self.extensions.clone();
        if let Some(ca) = self.ca {
            let flag: &[u8] = if ca { &[1, 1, 0xff] } else { &[] };
            let path_len = self.path_len.map(|len| tlv(2, &[len])).unwrap_or_default();
            extensions.push(extension("2.5.29.19", true, &seq(&[flag, &path_len])));
        }
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa3, &tlv(0x30, &extensions.concat()))
        };
        let body = seq(&[
            &tlv(0xa0, &[2, 1, 2]),
            &tlv(2, &[self.serial]),
            &algorithm(signature_oid),
            &name(self.issuer),
            &validity,
            &name(self.subject),
            &key.public(),
            &extensions,
        ]);
        let signature = issuer_key.sign(self.hash, &body);
        seq(&[
            &body,
            &algorithm(signature_oid),
            &tlv(3, &[&[0], &signature[..]].concat()),
        ])
    }
}

/// A signature to be made; each field can be set to something odd.
#[derive(Clone)]
pub(crate) struct Cms {
    pub(crate) version: u8,
    pub(crate) digest_algorithms: Vec<HashAlgorithm>,
    pub(crate) content: Vec<u8>,
    /// Around the content, in the explicit tag.
    pub(crate) wrap_in_octets: bool,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) signers: Vec<SignerInfo>,
}

#[derive(Clone)]
pub(crate) struct SignerInfo {
    pub(crate) key: Key,
    pub(crate) identifier: Vec<u8>,
    pub(crate) hash: HashAlgorithm,
    /// Signed attributes in this order; `None` for none at all.
    pub(crate) attributes: Option<Vec<Vec<u8>>>,
    pub(crate) signature_algorithm: Vec<u8>,
    pub(crate) pss: bool,
    pub(crate) unsigned: Vec<Vec<u8>>,
}

pub(crate) fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &tlv(0x31, value)])
}

/// SpcIndirectDataContent with a choice of algorithm, digest octets and type.
pub(crate) fn indirect(hash: HashAlgorithm, octets: &[u8], kind: &str) -> Vec<u8> {
    let text: Vec<u8> = "<<<Obsolete>>>"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    indirect_with(hash, octets, kind, &tlv(0xa2, &tlv(0x80, &text)))
}

pub(crate) fn indirect_with(
    hash: HashAlgorithm,
    octets: &[u8],
    kind: &str,
    link: &[u8],
) -> Vec<u8> {
    let data = seq(&[&oid(kind), &seq(&[&[3, 1, 0], &tlv(0xa0, link)])]);
    seq(&[&data, &seq(&[&algorithm(hash_oid(hash)), &tlv(4, octets)])])
}

/// The value octets of an element.
pub(crate) fn value_of(element: &[u8]) -> &[u8] {
    let header = match element[1] {
        0x81 => 3,
        0x82 => 4,
        0x83 => 5,
        _ => 2,
    };
    &element[header..]
}

/// Issuer and serial number of a certificate made here or by OpenSSL.
pub(crate) fn identifier_of(certificate: &[u8]) -> Vec<u8> {
    let body = value_of(certificate);
    let mut rest = value_of(body);
    let mut fields = Vec::new();
    while fields.len() < 4 {
        let len = match rest[1] {
            0x81 => 3 + usize::from(rest[2]),
            0x82 => 4 + usize::from(rest[2]) * 256 + usize::from(rest[3]),
            len => 2 + usize::from(len),
        };
        fields.push(&rest[..len]);
        rest = &rest[len..];
    }
    seq(&[fields[3], fields[1]])
}

impl SignerInfo {
    pub(crate) fn new(hash: HashAlgorithm, content: &[u8], key: &Key, certificate: &[u8]) -> Self {
        let message_digest = tlv(4, &digest(hash, value_of(content)));
        Self {
            key: key.clone(),
            identifier: identifier_of(certificate),
            hash,
            attributes: Some(vec![
                attribute(CONTENT_TYPE, &oid(INDIRECT)),
                attribute(MESSAGE_DIGEST, &message_digest),
            ]),
            signature_algorithm: algorithm(RSA),
            pss: false,
            unsigned: Vec::new(),
        }
    }

    fn build(&self, content: &[u8]) -> Vec<u8> {
        let message = self
            .attributes
            .as_ref()
            .map_or(value_of(content).to_vec(), |list| tlv(0x31, &list.concat()));
        let signature = if self.pss {
            self.key.sign_pss(&message)
        } else {
            self.key.sign(self.hash, &message)
        };
        let signed = self
            .attributes
            .as_ref()
            .map_or(Vec::new(), |list| tlv(0xa0, &list.concat()));
        let unsigned = if self.unsigned.is_empty() {
            Vec::new()
        } else {
            tlv(0xa1, &self.unsigned.concat())
        };
        seq(&[
            &[2, 1, 1],
            &self.identifier,
            &algorithm(hash_oid(self.hash)),
            &signed,
            &self.signature_algorithm,
            &tlv(4, &signature),
            &unsigned,
        ])
    }
}

impl Cms {
    /// A plain signature of an image's digest.
    pub(crate) fn new(
        hash: HashAlgorithm,
        image_digest: &[u8],
        key: &Key,
        certificates: &[&[u8]],
    ) -> Self {
        let content = indirect(hash, image_digest, PE_IMAGE);
        let signer = SignerInfo::new(hash, &content, key, certificates[0]);
        Self {
            version: 1,
            digest_algorithms: vec![hash],
            content,
            wrap_in_octets: false,
            certificates: certificates
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
            signers: vec![signer],
        }
    }

    /// Changes the only signer.
    pub(crate) fn signer(mut self, change: impl FnOnce(&mut SignerInfo)) -> Self {
        change(&mut self.signers[0]);
        self
    }

    /// Changes the content, and the message digest with it.
    pub(crate) fn content(mut self, content: Vec<u8>) -> Self {
        let hash = self.signers[0].hash;
        let digest = tlv(4, &digest(hash, value_of(&content)));
        self.signers[0].attributes.as_mut().unwrap()[1] = attribute(MESSAGE_DIGEST, &digest);
        self.content = content;
        self
    }

    /// SignedData without ContentInfo.
    pub(crate) fn bare(&self) -> Vec<u8> {
        let algorithms: Vec<u8> = self
            .digest_algorithms
            .iter()
            .flat_map(|hash| algorithm(hash_oid(*hash)))
            .collect();
        let inner = if self.wrap_in_octets {
            tlv(4, &self.content)
        } else {
            self.content.clone()
        };
        let certificates = if self.certificates.is_empty() {
            Vec::new()
        } else {
            tlv(0xa0, &self.certificates.concat())
        };
        let signers: Vec<u8> = self
            .signers
            .iter()
            .flat_map(|signer| signer.build(&self.content))
            .collect();
        seq(&[
            &[2, 1, self.version],
            &tlv(0x31, &algorithms),
            &seq(&[&oid(INDIRECT), &tlv(0xa0, &inner)]),
            &certificates,
            &tlv(0x31, &signers),
        ])
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        seq(&[&oid(SIGNED_DATA), &tlv(0xa0, &self.bare())])
    }
}

/// Offsets in a PE32+ or PE32 image.
pub(crate) struct Headers {
    pub(crate) checksum: usize,
    pub(crate) directory: usize,
    pub(crate) sections: usize,
    pub(crate) section_count: usize,
}

pub(crate) fn u32_at(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

pub(crate) fn put(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn headers(image: &[u8]) -> Headers {
    let pe = u32_at(image, 0x3c) as usize;
    let optional = pe + 24;
    let plus = image[optional] == 0x0b && image[optional + 1] == 2;
    let len = usize::from(image[pe + 20]) + 256 * usize::from(image[pe + 21]);
    Headers {
        checksum: optional + 64,
        directory: optional + if plus { 144 } else { 128 },
        sections: optional + len,
        section_count: usize::from(image[pe + 6]) + 256 * usize::from(image[pe + 7]),
    }
}

/// A table entry; `len` is `dwLength` if not the usual one, `pad` what follows.
pub(crate) struct Entry {
    pub(crate) kind: u16,
    pub(crate) revision: u16,
    pub(crate) len: Option<u32>,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(blob: &[u8]) -> Self {
        Self {
            kind: 2,
            revision: 0x200,
            len: None,
            data: blob.to_vec(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = self.len.unwrap_or(self.data.len() as u32 + 8);
        let mut out = len.to_le_bytes().to_vec();
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }
}

/// Puts a table at the end of an unsigned image, after padding it to 8.
pub(crate) fn signed(image: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut padded = image.to_vec();
    padded.resize(padded.len().next_multiple_of(8), 0);
    signed_as_is(&padded, entries)
}

/// Likewise without padding.
pub(crate) fn signed_as_is(image: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut out = image.to_vec();
    let table: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    let at = headers(image).directory;
    put(&mut out, at, image.len() as u32);
    put(&mut out, at + 4, table.len() as u32);
    out.extend_from_slice(&table);
    out
}

/// The image with the raw data of its last section (in file order) moved up by 512 bytes.
pub(crate) fn with_gap(image: &[u8]) -> Vec<u8> {
    let headers = headers(image);
    let rows = (0..headers.section_count).map(|index| headers.sections + 40 * index);
    let last = rows
        .filter(|row| u32_at(image, row + 16) != 0)
        .max_by_key(|row| u32_at(image, row + 20))
        .unwrap();
    let start = u32_at(image, last + 20);
    let mut out = image[..start as usize].to_vec();
    out.extend_from_slice(&[0xaa; 512]);
    out.extend_from_slice(&image[start as usize..]);
    put(&mut out, last + 20, start + 512);
    out
}

/// The image with the first two rows of its section table exchanged.
pub(crate) fn with_unsorted_sections(image: &[u8]) -> Vec<u8> {
    let mut out = image.to_vec();
    let at = headers(image).sections;
    let (a, b) = out[at..at + 80].split_at_mut(40);
    a.swap_with_slice(b);
    out
}

/// A timestamp token (RFC 3161) over the value of a signature.
pub(crate) fn timestamp(key: &Key, certificate: &[u8], signature: &[u8], time: &str) -> Vec<u8> {
    const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
    let imprint = seq(&[
        &algorithm(hash_oid(Sha256)),
        &tlv(4, &digest(Sha256, signature)),
    ]);
    let info = seq(&[
        &[2, 1, 1],
        &oid("1.2.3.4"),
        &imprint,
        &[2, 1, 5],
        &tlv(0x18, time.as_bytes()),
    ]);
    let attributes = [
        attribute(CONTENT_TYPE, &oid(TST_INFO)),
        attribute(MESSAGE_DIGEST, &tlv(4, &digest(Sha256, &info))),
    ]
    .concat();
    let signer = seq(&[
        &[2, 1, 1],
        &identifier_of(certificate),
        &algorithm(hash_oid(Sha256)),
        &tlv(0xa0, &attributes),
        &algorithm(RSA),
        &tlv(4, &key.sign(Sha256, &tlv(0x31, &attributes))),
    ]);
    let signed = seq(&[
        &[2, 1, 3],
        &tlv(0x31, &algorithm(hash_oid(Sha256))),
        &seq(&[&oid(TST_INFO), &tlv(0xa0, &tlv(4, &info))]),
        &tlv(0xa0, certificate),
        &tlv(0x31, &signer),
    ]);
    seq(&[&oid(SIGNED_DATA), &tlv(0xa0, &signed)])
}

/// An `EFI_SIGNATURE_LIST` of one entry; the GUID as it is stored.
pub(crate) fn signature_list(kind: [u8; 16], value: &[u8]) -> Vec<u8> {
    let len = value.len() as u32 + 16;
    let mut out = kind.to_vec();
    for field in [len + 28, 0, len] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&[0x11; 16]);
    out.extend_from_slice(value);
    out
}
