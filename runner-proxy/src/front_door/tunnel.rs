//! The frames of WebSocket, as far as saying goodbye between two of them takes.

/// Where the server's side of a WebSocket is between and inside its frames.
///
/// Payloads are skipped, so compression and fragments of messages are as good as anything: a
/// control frame may stand between any two frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 10],
    /// How much of a frame's head was seen.
    have: usize,
    /// What is left of its payload.
    payload: u64,
}

impl Frames {
    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// How much of these bytes there is before the next frame begins. All of them if none does.
    pub(super) fn until_between(&self, bytes: &[u8]) -> usize {
        let mut ahead = Self { head: self.head, ..*self };
        let mut used = 0;
        while used < bytes.len() {
            used += ahead.step(&bytes[used..]);
            if ahead.is_between() {
                break;
            }
        }
        used
    }

    /// Follows bytes that were written.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Takes bytes up to the end of a head or of a payload, at least one; how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload > 0 {
            let taken = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
            self.payload -= taken as u64;
            return taken;
        }
        let mut taken = 0;
        while self.have < self.head_len() && taken < bytes.len() {
            if self.have < self.head.len() {
                self.head[self.have] = bytes[taken];
            }
            self.have += 1;
            taken += 1;
        }
        if self.have == self.head_len() {
            self.payload = self.payload_len();
            self.have = 0;
        }
        taken
    }

    /// As far as is known by now.
    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        mask + match self.head[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_len(&self) -> u64 {
        let [_, length, rest @ ..] = self.head;
        match length & 0x7f {
            126 => u64::from(u16::from_be_bytes([rest[0], rest[1]])),
            127 => u64::from_be_bytes(rest),
            short => u64::from(short),
        }
    }
}

/// Close, with the status 1012: "service restart", on which clients come back by themselves.
pub(super) const GOODBYE: [u8; 4] = [0x88, 0x02, 0x03, 0xf4];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(if masked { &[1, 2, 3, 4][..] } else { &[] });
        frame.extend(vec![0x88; length]);
        frame
    }

    proptest! {
        #[test]
        fn the_end_of_each_frame_is_found_however_they_are_cut(
            frames in prop::collection::vec((prop_oneof![0..130_usize, 65_530..65_540_usize], any::<bool>()), 1..6),
            cuts in prop::collection::vec(1..2_000_usize, 1..40),
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (length, masked) in frames {
                bytes.extend(frame(length, masked));
                ends.push(bytes.len());
            }
            let mut seen = Frames::default();
            let mut cuts = cuts.iter().cycle();
            let (mut at, mut found) = (0, Vec::new());
            while at < bytes.len() {
                let piece = &bytes[at..bytes.len().min(at + cuts.next().unwrap())];
                let until = seen.until_between(piece);
                seen.follow(&piece[..until]);
                at += until;
                if seen.is_between() {
                    found.push(at);
                }
            }
            prop_assert_eq!(found, ends);
        }
    }
}
