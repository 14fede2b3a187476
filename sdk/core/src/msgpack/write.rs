//! Writing MessagePack step by step.

/// Writes MessagePack to the end of a buffer, each value in its shortest form.
///
/// It trusts its caller to write as many values after [`Writer::array`] and [`Writer::map`] as
/// announced. Strings and bytes longer than 2^32 - 1 bytes do not exist in MessagePack; nothing
/// here gets near that, because messages are bounded.
///
/// ```
/// use tidings_core::msgpack::Writer;
/// let mut out = Vec::new();
/// Writer::new(&mut out).array(2).u64(300).str("hi");
/// assert_eq!(out, [0x92, 0xcd, 0x01, 0x2c, 0xa2, b'h', b'i']);
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Begins an array of `len` values.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.counted(0x90, 15, [None, Some(0xDC), Some(0xDD)], len)
    }

    /// Begins a map of `len` keys and values.
    pub fn map(&mut self, len: usize) -> &mut Self {
        self.counted(0x80, 15, [None, Some(0xDE), Some(0xDF)], len)
    }

    /// A string.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.counted(0xA0, 31, [Some(0xD9), Some(0xDA), Some(0xDB)], value.len());
        self.raw(value.as_bytes())
    }

    /// Bytes.
    pub fn bin(&mut self, value: &[u8]) -> &mut Self {
        self.sized([0xC4, 0xC5, 0xC6], value.len());
        self.raw(value)
    }

    /// An extension.
    pub fn ext(&mut self, kind: i8, content: &[u8]) -> &mut Self {
        match content.len() {
            len @ (1 | 2 | 4 | 8 | 16) => self.out.push(0xD4 + len.ilog2() as u8),
            len => self.sized([0xC7, 0xC8, 0xC9], len),
        }
        self.raw(&kind.to_be_bytes()).raw(content)
    }

    /// Nil.
    pub fn nil(&mut self) -> &mut Self {
        self.raw(&[0xC0])
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(&[0xC2 + u8::from(value)])
    }

    /// A whole number that is not negative.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        match value {
            0..=0x7F => self.raw(&[value as u8]),
            0x80..=0xFF => self.raw(&[0xCC, value as u8]),
            0x100..=0xFFFF => self.raw(&[0xCD]).raw(&(value as u16).to_be_bytes()),
            0x1_0000..=0xFFFF_FFFF => self.raw(&[0xCE]).raw(&(value as u32).to_be_bytes()),
            _ => self.raw(&[0xCF]).raw(&value.to_be_bytes()),
        }
    }

    /// A whole number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        match value {
            0.. => self.u64(value.unsigned_abs()),
            -0x20..0 => self.raw(&(value as i8).to_be_bytes()),
            -0x80..-0x20 => self.raw(&[0xD0]).raw(&(value as i8).to_be_bytes()),
            -0x8000..-0x80 => self.raw(&[0xD1]).raw(&(value as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.raw(&[0xD2]).raw(&(value as i32).to_be_bytes()),
            _ => self.raw(&[0xD3]).raw(&value.to_be_bytes()),
        }
    }

    /// A floating-point number, always as a double.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.raw(&[0xCB]).raw(&value.to_be_bytes())
    }

    /// A value that is MessagePack already.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// A length that the first byte may hold, up to `most`.
    fn counted(&mut self, first: u8, most: usize, sizes: [Option<u8>; 3], len: usize) -> &mut Self {
        match (len, sizes) {
            (len, _) if len <= most => self.out.push(first | len as u8),
            (..=0xFF, [Some(code), ..]) => self.out.extend([code, len as u8]),
            (..=0xFFFF, [_, Some(code), _]) => {
                self.out.push(code);
                self.out.extend((len as u16).to_be_bytes());
            }
            (_, [_, _, code]) => {
                self.out.extend(code);
                self.out.extend((len as u32).to_be_bytes());
            }
        }
        self
    }

    fn sized(&mut self, [one, two, four]: [u8; 3], len: usize) {
        match len {
            0..=0xFF => self.out.extend([one, len as u8]),
            0x100..=0xFFFF => {
                self.out.push(two);
                self.out.extend((len as u16).to_be_bytes());
            }
            _ => {
                self.out.push(four);
                self.out.extend((len as u32).to_be_bytes());
            }
        }
    }
}
