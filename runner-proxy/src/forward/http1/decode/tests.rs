//! Heads and bodies, whole and byte by byte.

use proptest::prelude::*;

use super::*;

fn read(text: &str, is_head: bool) -> Result<Option<(Head, String)>, Fault> {
    let mut incoming = BytesMut::from(text);
    let head = head(&mut incoming, &mut Vec::new(), is_head, false)?;
    Ok(head.map(|head| (head, String::from_utf8(incoming.to_vec()).expect("text"))))
}

/// How the body of a response with these header lines is read, and whether another may follow.
fn framed(first: &str, lines: &str) -> Result<(Decoder, bool), Fault> {
    let text = format!("{first}\r\n{lines}\r\n");
    read(&text, false).map(|read| {
        let (head, rest) = read.expect("it is whole");
        assert_eq!(rest, "");
        (head.body, head.may_persist)
    })
}

#[test]
fn the_end_of_a_body_is_told_as_the_standard_says() {
    const OK: &str = "HTTP/1.1 200 OK";
    let chunked = Decoder::Chunked(Chunk::Size);
    type Case = (&'static str, &'static str, Result<(Decoder, bool), Fault>);
    let cases: [Case; 19] = [
        (OK, "content-length: 5\r\n", Ok((Decoder::Sized(5), true))),
        (OK, "content-length: 0\r\n", Ok((Decoder::Nothing, true))),
        (OK, "content-length: 5\r\ncontent-length: 5\r\n", Ok((Decoder::Sized(5), true))),
        (OK, "content-length: 5\r\ncontent-length: 6\r\n", Err(Fault::BadResponse)),
        (OK, "content-length: 5, 5\r\n", Err(Fault::BadResponse)),
        (OK, "content-length: +5\r\n", Err(Fault::BadResponse)),
        (OK, "content-length: \r\n", Err(Fault::BadResponse)),
        (OK, "content-length: 99999999999999999999\r\n", Err(Fault::BadResponse)),
        (OK, "", Ok((Decoder::ToEnd, false))),
        (OK, "transfer-encoding: Chunked\r\n", Ok((chunked, true))),
        (OK, "transfer-encoding: gzip, chunked\r\n", Err(Fault::BadResponse)),
        (OK, "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", Err(Fault::BadResponse)),
        (OK, "transfer-encoding: chunked\r\ncontent-length: 5\r\n", Ok((chunked, false))),
        (OK, "connection: x, Close\r\ncontent-length: 5\r\n", Ok((Decoder::Sized(5), false))),
        ("HTTP/1.0 200 OK", "content-length: 5\r\n", Ok((Decoder::Sized(5), false))),
        (
            "HTTP/1.0 200 OK",
            "connection: keep-alive\r\ncontent-length: 5\r\n",
            Ok((Decoder::Sized(5), true)),
        ),
        ("HTTP/1.0 200 OK", "transfer-encoding: chunked\r\n", Err(Fault::BadResponse)),
        ("HTTP/1.1 204 No Content", "", Ok((Decoder::Nothing, true))),
        ("HTTP/1.1 304 Not Modified", "content-length: 5\r\n", Ok((Decoder::Nothing, true))),
    ];
    for (first, lines, expected) in cases {
        assert_eq!(framed(first, lines), expected, "{first} {lines}");
    }
    let (head, _) =
        read("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true).expect("sound").expect("whole");
    assert_eq!(head.body, Decoder::Nothing, "there is none to HEAD");
}

#[test]
fn a_head_that_is_none_or_has_no_end_is_a_fault() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
    ] {
        assert_eq!(read(text, false).err(), Some(Fault::BadResponse), "{text:?}");
    }
    let many = "a: b\r\n".repeat(101);
    assert!(read(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), false).is_err());
    let long = "x".repeat(LARGEST_HEAD);
    assert!(read(&format!("HTTP/1.1 200 OK\r\na: {long}"), false).is_err());
    assert!(matches!(read("HTTP/1.1 200 OK\r\na: b\r\n", false), Ok(None)));
}

/// All of a body that comes in pieces, and what of its last piece was not its own.
fn body(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, usize), Fault> {
    let (mut data, mut after) = (Vec::new(), HeaderMap::new());
    let mut incoming = BytesMut::new();
    for piece in pieces {
        incoming.extend_from_slice(piece);
        loop {
            match decoder.step(&mut incoming)? {
                Step::Data(bytes) => data.extend_from_slice(&bytes),
                Step::Trailers(trailers) => after = trailers,
                Step::End | Step::More => break,
            }
        }
    }
    Ok((data, after, incoming.len()))
}

#[test]
fn chunks_that_are_not_are_faults() {
    for text in [
        "g\r\n",
        "\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1 2\r\n",
        "1\n",
        "1\r\nabc",
        "1\r\na\n\n",
        "11111111111111111\r\n",
        "0\r\na b: c\r\n\r\n",
    ] {
        let mut decoder = Decoder::Chunked(Chunk::Size);
        assert_eq!(
            body(&mut decoder, &[text.as_bytes()]).err(),
            Some(Fault::BadResponse),
            "{text:?}"
        );
    }
    let endless = format!("1;{}", "x".repeat(LONGEST_LINE));
    assert!(body(&mut Decoder::Chunked(Chunk::Size), &[endless.as_bytes()]).is_err());
    let endless = format!("0\r\na: {}", "x".repeat(LARGEST_HEAD));
    assert!(body(&mut Decoder::Chunked(Chunk::Size), &[endless.as_bytes()]).is_err());
}

proptest! {
    #[test]
    fn a_body_is_the_same_in_whatever_pieces_it_comes(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        has_trailers in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut text = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            let extension = if at % 2 == 0 { "" } else { " ;a=b" };
            text.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(if has_trailers { b"0\r\nx: 1\r\n\r\n" } else { b"0\r\n\r\n" });
        text.extend_from_slice(b"rest");
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        let mut decoder = Decoder::Chunked(Chunk::Size);
        let (data, after, left) = body(&mut decoder, &pieces).expect("sound");
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(after.contains_key("x"), has_trailers);
        prop_assert_eq!(left, 4, "what follows is not its own");
        prop_assert!(decoder.is_over());
    }

    #[test]
    fn whatever_an_instance_says_nothing_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut incoming = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
        incoming.extend_from_slice(&text);
        let _ = head(&mut incoming, &mut Vec::new(), false, false);
        let _ = body(&mut Decoder::Chunked(Chunk::Size), &[&text]);
    }
}
