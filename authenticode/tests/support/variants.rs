//! The variants that were tried on real firmware: OVMF 2025.02 with a certificate authority in `db`.

use authenticode::{HashAlgorithm, Image, ImageOptions};

use super::forge::*;

/// A way to sign that some signer, or some forger, might use, and what firmware said.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) image: Vec<u8>,
    pub(crate) accepted: bool,
}

/// An authority in `db` (with its key) and the signers below it.
pub(crate) struct World {
    pub(crate) authority: Vec<u8>,
    pub(crate) authority_key: Key,
    pub(crate) authority_name: &'static str,
    /// Any other keys.
    pub(crate) keys: [Key; 3],
    pub(crate) long_keys: [Key; 2],
    pub(crate) short_key: Key,
}

impl World {
    fn issue(&self, certificate: &Certificate, key: &Key) -> Vec<u8> {
        certificate.sign(key, &self.authority_key)
    }

    fn leaf(&self) -> Vec<u8> {
        self.issue(
            &Certificate::new("leaf", self.authority_name, 2),
            &self.keys[0],
        )
    }
}

pub(crate) fn digest_of(image: &[u8], hash: HashAlgorithm) -> Vec<u8> {
    let options = ImageOptions::new().hashes(&[hash]).allow_gaps(true);
    Image::parse_with(image, &options)
        .unwrap()
        .digest_for_signing(hash)
        .unwrap()
        .as_bytes()
        .to_vec()
}

/// The digest of everything, as tools compute it that do not look at sections.
pub(crate) fn linear_digest(image: &[u8]) -> Vec<u8> {
    let at = headers(image);
    let mut bytes = image[..at.checksum].to_vec();
    bytes.extend_from_slice(&image[at.checksum + 4..at.directory]);
    bytes.extend_from_slice(&image[at.directory + 8..]);
    bytes.resize(
        bytes.len() + image.len().next_multiple_of(8) - image.len(),
        0,
    );
    digest(Sha256, &bytes)
}

struct List<'a> {
    base: &'a [u8],
    world: &'a World,
    all: Vec<Variant>,
}

impl List<'_> {
    fn add(&mut self, accepted: bool, name: &'static str, image: Vec<u8>) {
        self.all.push(Variant {
            name,
            image,
            accepted,
        });
    }

    /// A signature of the base image by a signer of the authority.
    fn cms(&self, hash: HashAlgorithm) -> Cms {
        Cms::new(
            hash,
            &digest_of(self.base, hash),
            &self.world.keys[0],
            &[&self.world.leaf()],
        )
    }

    fn with(&mut self, accepted: bool, name: &'static str, cms: &Cms) {
        self.blob(accepted, name, &cms.build());
    }

    fn blob(&mut self, accepted: bool, name: &'static str, blob: &[u8]) {
        let image = signed(self.base, &[Entry::new(blob)]);
        self.add(accepted, name, image);
    }

    fn by(&mut self, accepted: bool, name: &'static str, key: &Key, certificates: &[&[u8]]) {
        let cms = Cms::new(Sha256, &digest_of(self.base, Sha256), key, certificates);
        self.with(accepted, name, &cms);
    }
}

pub(crate) fn variants(base: &[u8], world: &World) -> Vec<Variant> {
    let mut list = List {
        base,
        world,
        all: Vec::new(),
    };
    tables(&mut list);
    algorithms(&mut list);
    entries(&mut list);
    structures(&mut list);
    attributes(&mut list);
    digests(&mut list);
    certificates(&mut list);
    images(&mut list);
    list.all
}

fn tables(list: &mut List<'_>) {
    let blob = list.cms(Sha256).build();
    let base = list.base;
    let padded_len = (blob.len() as u32 + 8).next_multiple_of(8);
    let mut padded = blob.clone();
    padded.resize(padded_len as usize - 8, 0);
    list.blob(true, "dwLength without the padding", &blob);
    list.add(
        true,
        "dwLength with the padding",
        signed(base, &[Entry::new(&padded)]),
    );
    list.add(
        true,
        "40 bytes of junk in dwLength",
        signed(base, &[Entry::new(&[&blob[..], &[0x5a; 40]].concat())]),
    );
    list.add(
        true,
        "revision 1.0",
        signed(
            base,
            &[Entry {
                revision: 0x100,
                ..Entry::new(&blob)
            }],
        ),
    );
    let guid = [
        0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65,
        0xa7,
    ];
    let typed = [&guid[..], &blob].concat();
    list.add(
        true,
        "type EFI_GUID with PKCS7",
        signed(
            base,
            &[Entry {
                kind: 0xef1,
                ..Entry::new(&typed)
            }],
        ),
    );
    let x509 = Entry {
        kind: 1,
        ..Entry::new(&list.world.authority)
    };
    list.add(
        true,
        "a second entry of type X.509",
        signed(base, &[Entry::new(&blob), x509]),
    );
    let mut moved = base.to_vec();
    moved.resize(moved.len().next_multiple_of(8) + 4, 0);
    // The four bytes more are hashed, but not padded to 8.
    let options = ImageOptions::new();
    let digest = Image::parse_with(&moved, &options)
        .unwrap()
        .digest_as_loaded(Sha256)
        .unwrap();
    let cms = Cms::new(
        Sha256,
        digest.as_bytes(),
        &list.world.keys[0],
        &[&list.world.leaf()],
    );
    list.add(
        true,
        "table at 4 mod 8",
        signed_as_is(&moved, &[Entry::new(&cms.build())]),
    );
    let good = signed(base, &[Entry::new(&blob)]);
    let at = headers(base).directory;
    let size = u32_at(&good, at + 4);
    let mut too_big = good.clone();
    put(&mut too_big, at + 4, size + 16);
    too_big.extend_from_slice(&[0; 16]);
    list.add(false, "directory size 16 too big", too_big);
    list.add(
        false,
        "16 bytes after the table",
        [&good[..], &[0; 16]].concat(),
    );
    let short = Entry {
        len: Some(blob.len() as u32 + 8 - 16),
        ..Entry::new(&blob)
    };
    list.add(false, "dwLength 16 too short", signed(base, &[short]));
    let mut none = good;
    put(&mut none, at + 4, 0);
    list.add(false, "directory size 0", none);
}

fn algorithms(list: &mut List<'_>) {
    for (name, hash) in [
        ("SHA-1", Sha1),
        ("SHA-256", Sha256),
        ("SHA-384", Sha384),
        ("SHA-512", Sha512),
    ] {
        list.with(true, name, &list.cms(hash));
    }
    let world = list.world;
    let keys = [
        ("RSA 1024", &world.short_key),
        ("RSA 2048", &world.keys[1]),
        ("RSA 3072", &world.long_keys[0]),
        ("RSA 4096", &world.long_keys[1]),
    ];
    for (name, key) in keys {
        let leaf = world.issue(&Certificate::new("leaf", world.authority_name, 3), key);
        list.by(true, name, key, &[&leaf]);
    }
    let hash = algorithm(hash_oid(Sha256));
    let mask = seq(&[&oid("1.2.840.113549.1.1.8"), &hash]);
    let parameters = seq(&[
        &tlv(0xa0, &hash),
        &tlv(0xa1, &mask),
        &tlv(0xa2, &[2, 1, 32]),
    ]);
    let pss = list.cms(Sha256).signer(|signer| {
        signer.pss = true;
        signer.signature_algorithm = seq(&[&oid(RSA_PSS), &parameters]);
    });
    list.with(false, "RSA-PSS", &pss);
}

fn entries(list: &mut List<'_>) {
    let good = list.cms(Sha256).build();
    let stranger = Certificate::new("stranger", "stranger", 9)
        .ca(true)
        .sign(&list.world.keys[2], &list.world.keys[2]);
    let foreign = Cms::new(
        Sha256,
        &digest_of(list.base, Sha256),
        &list.world.keys[2],
        &[&stranger],
    )
    .build();
    let garbage = [0x5a; 300];
    for (name, blobs) in [
        ("unknown signer before a good one", [&foreign[..], &good]),
        ("unknown signer after a good one", [&good[..], &foreign]),
        ("garbage before a good one", [&garbage[..], &good]),
        ("garbage after a good one", [&good[..], &garbage]),
    ] {
        let entries = blobs.map(Entry::new);
        list.add(true, name, signed(list.base, &entries));
    }
    list.blob(false, "only an unknown signer", &foreign);
    let mut outer = Cms::new(
        Sha256,
        &digest_of(list.base, Sha256),
        &list.world.keys[2],
        &[&stranger],
    );
    outer.signers[0].unsigned = vec![attribute(NESTED, &good)];
    list.with(false, "only a nested signature is trusted", &outer);
    let mut two = list.cms(Sha256);
    two.certificates.push(stranger.clone());
    two.signers.push(SignerInfo::new(
        Sha256,
        &two.content,
        &list.world.keys[2],
        &stranger,
    ));
    list.with(false, "two SignerInfos of which one is untrusted", &two);
}

fn structures(list: &mut List<'_>) {
    let plain = list.cms(Sha256);
    let with = |version, algorithms: &[HashAlgorithm]| Cms {
        version,
        digest_algorithms: algorithms.to_vec(),
        ..plain.clone()
    };
    list.with(true, "SignedData version 3", &with(3, &[Sha256]));
    list.with(
        true,
        "two digestAlgorithms, the right one first",
        &with(1, &[Sha256, Sha1]),
    );
    list.with(
        false,
        "two digestAlgorithms, the right one second",
        &with(1, &[Sha1, Sha256]),
    );
    list.with(
        false,
        "digestAlgorithms SHA-1, SHA-256 elsewhere",
        &with(1, &[Sha1]),
    );
    for (name, id) in [
        ("signature algorithm sha256WithRSA", SHA256_RSA),
        ("signature algorithm sha512WithRSA", SHA512_RSA),
    ] {
        list.with(
            true,
            name,
            &plain
                .clone()
                .signer(|signer| signer.signature_algorithm = algorithm(id)),
        );
    }
    list.blob(false, "bare SignedData", &plain.bare());
    let inner = [&oid(SIGNED_DATA)[..], &tlv(0xa0, &plain.bare())].concat();
    list.blob(
        false,
        "indefinite length",
        &[&[0x30, 0x80][..], &inner, &[0, 0]].concat(),
    );
    for (name, version) in [
        ("content in OCTET STRING, version 1", 1),
        ("content in OCTET STRING, version 3", 3),
    ] {
        // CMS libraries hash the octets inside, which is all of the SEQUENCE.
        let mut cms = Cms {
            version,
            wrap_in_octets: true,
            ..plain.clone()
        };
        let digest = tlv(4, &digest(Sha256, &cms.content));
        cms.signers[0].attributes.as_mut().unwrap()[1] = attribute(MESSAGE_DIGEST, &digest);
        list.with(false, name, &cms);
    }
    let key_id = tlv(0x80, &[7; 20]);
    list.with(
        false,
        "signer named by subjectKeyIdentifier",
        &plain.signer(|signer| signer.identifier = key_id),
    );
}

fn attributes(list: &mut List<'_>) {
    let plain = list.cms(Sha256);
    let change = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        plain
            .clone()
            .signer(|signer| change(signer.attributes.as_mut().unwrap()))
    };
    list.with(
        true,
        "no signed attributes",
        &plain.clone().signer(|signer| signer.attributes = None),
    );
    list.with(
        true,
        "contentType missing",
        &change(&|all| drop(all.remove(0))),
    );
    list.with(
        true,
        "contentType wrong",
        &change(&|all| all[0] = attribute(CONTENT_TYPE, &oid("1.2.840.113549.1.7.1"))),
    );
    list.with(true, "attributes unsorted", &change(&|all| all.reverse()));
    list.with(
        true,
        "an unknown attribute",
        &change(&|all| all.push(attribute("1.2.3.4.5", &[5, 0]))),
    );
    list.with(
        false,
        "messageDigest missing",
        &change(&|all| drop(all.remove(1))),
    );
    let wrong = attribute(MESSAGE_DIGEST, &tlv(4, &[0; 32]));
    list.with(
        false,
        "messageDigest twice, a wrong one first",
        &change(&|all| all.insert(1, wrong.clone())),
    );
    let mut swapped = plain.clone();
    swapped.content = indirect(Sha256, &digest_of(list.base, Sha256), INDIVIDUAL);
    list.with(false, "content swapped under old attributes", &swapped);
}

fn digests(list: &mut List<'_>) {
    let plain = list.cms(Sha256);
    let (right, sha1) = (digest_of(list.base, Sha256), digest_of(list.base, Sha1));
    let with = |content| plain.clone().content(content);
    list.with(
        true,
        "DigestInfo says SHA-1 over a SHA-256 value",
        &with(indirect(Sha1, &right, PE_IMAGE)),
    );
    let before = [&[1, 2, 3, 4][..], &right].concat();
    list.with(
        true,
        "4 bytes of junk before the digest",
        &with(indirect(Sha256, &before, PE_IMAGE)),
    );
    let after = [&right[..], &[1, 2, 3, 4]].concat();
    list.with(
        false,
        "4 bytes of junk after the digest",
        &with(indirect(Sha256, &after, PE_IMAGE)),
    );
    list.with(
        false,
        "SHA-1 image digest under a SHA-256 signer",
        &with(indirect(Sha1, &sha1, PE_IMAGE)),
    );
    list.with(
        true,
        "type of content 2.1.21",
        &with(indirect(Sha256, &right, INDIVIDUAL)),
    );
    let link = tlv(0xa2, &tlv(0x80, &[]));
    list.with(
        true,
        "empty file name",
        &with(indirect_with(Sha256, &right, PE_IMAGE, &link)),
    );
}

fn certificates(list: &mut List<'_>) {
    let world = list.world;
    let (key, authority) = (&world.keys[0], world.authority_name);
    let leaf = |serial| Certificate::new("leaf", authority, serial);
    let expired = world.issue(&leaf(4).validity("200101000000Z", "210101000000Z"), key);
    list.by(true, "expired", key, &[&expired]);
    let future = world.issue(&leaf(5).validity("480101000000Z", "490101000000Z"), key);
    list.by(true, "not yet valid", key, &[&future]);
    let usage = extension("2.5.29.37", true, &seq(&[&oid("1.3.6.1.5.5.7.3.1")]));
    let server = world.issue(&leaf(6).extension(usage), key);
    list.by(true, "extended key usage serverAuth", key, &[&server]);
    let middle = world.issue(
        &Certificate::new("middle", authority, 7).ca(true),
        &world.keys[1],
    );
    let below = Certificate::new("below", "middle", 8).sign(key, &world.keys[1]);
    list.by(true, "leaf and intermediate", key, &[&below, &middle]);
    let mut reversed = Cms::new(
        Sha256,
        &digest_of(list.base, Sha256),
        key,
        &[&below, &middle],
    );
    reversed.certificates.reverse();
    list.with(true, "certificates in reverse order", &reversed);
    list.by(false, "intermediate missing", key, &[&below]);
    let mut empty = list.cms(Sha256);
    empty.certificates.clear();
    list.with(false, "signer's certificate not embedded", &empty);
    let no_ca = world.issue(
        &Certificate::new("middle", authority, 9).ca(false),
        &world.keys[1],
    );
    list.by(
        false,
        "issuer that is not an authority",
        key,
        &[&below, &no_ca],
    );
}

fn images(list: &mut List<'_>) {
    let world = list.world;
    let sign = |image: &[u8], digest: &[u8]| {
        let cms = Cms::new(Sha256, digest, &world.keys[0], &[&world.leaf()]);
        signed(image, &[Entry::new(&cms.build())])
    };
    let base = list.base;
    let mut wrong = sign(base, &digest_of(base, Sha256));
    put(&mut wrong, headers(base).checksum, 0x1234_5678);
    list.add(true, "wrong checksum", wrong);
    let unsorted = with_unsorted_sections(base);
    list.add(
        true,
        "unsorted section table",
        sign(&unsorted, &digest_of(&unsorted, Sha256)),
    );
    let unaligned = [base, &[1, 2, 3][..]].concat();
    list.add(
        true,
        "unaligned, the padding hashed",
        sign(&unaligned, &digest_of(&unaligned, Sha256)),
    );
    let image = Image::parse(&unaligned).unwrap();
    let unpadded = image.digest_as_loaded(Sha256).unwrap();
    list.add(
        false,
        "unaligned, the padding not hashed",
        sign(&unaligned, unpadded.as_bytes()),
    );
    list.add(false, "unsigned", base.to_vec());
    let mut tampered = sign(base, &digest_of(base, Sha256));
    tampered[0x50] ^= 1;
    list.add(false, "tampered", tampered);
    let gap = with_gap(base);
    list.add(
        true,
        "a gap, signed by the rule of the specification",
        sign(&gap, &digest_of(&gap, Sha256)),
    );
    list.add(
        false,
        "a gap, signed from front to back",
        sign(&gap, &linear_digest(&gap)),
    );
}
