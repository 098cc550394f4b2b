//! A reader of bytes in any encoding as a reader of UTF-8 with one sort of line end, piece by piece.

use super::Encoding;
use encoding_rs::{CoderResult, Decoder, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::io::{self, Read};

const PIECE: usize = 32 * 1024;

pub struct Decoded<R> {
    source: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    /// What of `text` was handed over.
    at: usize,
    is_over: bool,
    /// The last byte of the piece before was a `\r`, whose `\n` may follow.
    is_after_return: bool,
}

impl<R: Read> Decoded<R> {
    pub fn new(source: R, encoding: Encoding) -> Self {
        let encoding = match encoding {
            Encoding::Utf8 => UTF_8,
            Encoding::Utf16Le => UTF_16LE,
            Encoding::Utf16Be => UTF_16BE,
            Encoding::Windows1252 => WINDOWS_1252,
        };
        // A byte-order mark is no part of the first heading.
        let decoder = encoding.new_decoder_with_bom_removal();
        let (raw, text) = (vec![0; PIECE], Vec::new());
        Self { source, decoder, raw, text, at: 0, is_over: false, is_after_return: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        let count = self.source.read(&mut self.raw)?;
        self.is_over = count == 0;
        let raw = self.raw.get(..count).unwrap_or_default();
        let room = self.decoder.max_utf8_buffer_length(count).unwrap_or(PIECE * 4);
        self.text.resize(room.max(16), 0);
        let (result, _, written, _) = self.decoder.decode_to_utf8(raw, &mut self.text, self.is_over);
        if result == CoderResult::OutputFull {
            return Err(io::Error::other("the decoder asked for more room than it announced"));
        }
        self.text.truncate(written);
        self.end_lines_alike();
        self.at = 0;
        Ok(())
    }

    /// `\r\n` and a lone `\r` become `\n`: the reader of CSV ends a record at each of them, but counts lines by `\n` alone.
    fn end_lines_alike(&mut self) {
        let mut is_after_return = self.is_after_return;
        self.text.retain_mut(|byte| {
            let is_second = *byte == b'\n' && is_after_return;
            is_after_return = *byte == b'\r';
            if is_after_return {
                *byte = b'\n';
            }
            !is_second
        });
        self.is_after_return = is_after_return;
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.is_over {
                return Ok(0);
            }
            self.fill()?;
        }
        let ready = self.text.get(self.at..).unwrap_or_default();
        let count = ready.len().min(out.len());
        let (to, from) = (out.get_mut(..count).unwrap_or_default(), ready.get(..count).unwrap_or_default());
        to.copy_from_slice(from);
        self.at += count;
        Ok(count)
    }
}
