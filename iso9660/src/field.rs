//! Fixed-size structures with fields at known offsets.

/// A structure of zero bytes whose fields are set one by one. What does not fit is cut.
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![0; len])
    }

    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    }

    /// The low `len` bytes of a number, little-endian.
    pub(crate) fn le(&mut self, offset: usize, len: usize, value: u64) {
        let bytes = value.to_le_bytes();
        self.put(offset, bytes.get(..len).unwrap_or(&bytes));
    }

    pub(crate) fn be32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_be_bytes());
    }

    /// ECMA-119 7.2.3: little-endian, then big-endian.
    pub(crate) fn both16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
        self.put(offset.saturating_add(2), &value.to_be_bytes());
    }

    /// ECMA-119 7.3.3: little-endian, then big-endian.
    pub(crate) fn both32(&mut self, offset: usize, value: u32) {
        self.put(offset, &both32(value));
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Both orders of a number (ECMA-119 7.3.3).
pub(crate) fn both32(value: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}
