//! Requests bent at random, through the whole path, before an upstream that forgives nothing.
//!
//! What holds of them stands in [`path`]; here is only what is said, from a corpus and by dice. The
//! crate in `fuzz/` says to the same path what libFuzzer thinks of. `RUNNER_FUZZ` says how many
//! rounds (400), `RUNNER_FUZZ_SEED` where to begin; the seed of what fails is printed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn, wait, and fail where they unwrap"
)]

mod path;

const CORPUS: [&str; 12] = [
    "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
    "POST /c HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /t HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n2;e=1\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
    "GET http://a.example/abs HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
    "GET /old HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n",
    "PUT /e HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "GET /u HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "HEAD /h HTTP/1.1\r\nHost: a.example\r\nAccept: application/json\r\nCookie: at=1; b=2\r\n\r\n",
    "CONNECT b:25 HTTP/1.1\r\nHost: b:25\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
];

/// What requests are bent with.
const PIECES: [&str; 22] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "0",
    "0\r\n\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: content-length, host\r\n",
    "\r\n folded\r\n",
    "Host: b.example\r\n",
    "%2e%2e/",
    "\u{e4}",
    "ffffffffffffffff\r\n",
];

/// A generator of numbers that anybody can write down again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    fn bent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(3) {
            bytes.extend_from_slice(CORPUS[self.below(CORPUS.len())].as_bytes());
        }
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => {
                    let upto = (at + self.below(24)).min(bytes.len());
                    let copy = bytes[at..upto].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
                3 => bytes[at] ^= 0x20,
                _ => {
                    let piece = PIECES[self.below(PIECES.len())].bytes();
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    }

    fn pieces<'a>(&mut self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + self.below(rest.len()));
            pieces.push(now);
            rest = later;
        }
        pieces
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn whatever_a_client_says_an_instance_receives_requests_that_read_in_one_way() {
    let (first, rounds) = (number("RUNNER_FUZZ_SEED", 1), number("RUNNER_FUZZ", 400));
    let mut requests = 0;
    for seed in first..first + rounds {
        // What fails tells what was said, and this which round it was.
        let round = std::panic::catch_unwind(|| round(seed));
        requests += round.unwrap_or_else(|_| panic!("that was seed {seed}"));
    }
    println!("{rounds} rounds from seed {first}, {requests} requests received");
    assert!(requests > rounds / 4, "the corpus does not come through: {requests}");
}

/// Several clients of one door, whose words come in pieces; how many of their requests came
/// through.
fn round(seed: u64) -> u64 {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let said: Vec<_> = (0..4).map(|_| dice.bent()).collect();
    let clients: Vec<_> = said.iter().map(|bytes| dice.pieces(bytes)).collect();
    path::ask(&clients)
}
