//! More than anybody needs: of everything that has a size.

use crate::requests::{Case, Expect, fine};

use Expect::{Broken, Once, Refused, RefusedOr};

/// What may be said to a head that is too large, wherever in it that is noticed.
const LARGE: Expect = Refused(&[400, 414, 431]);

fn asked(name: &'static str, line: &str, fields: &str, expect: Expect) -> Case {
    let bytes = format!("{line}\r\nhost: shop.localhost\r\nconnection: close\r\n{fields}\r\n");
    Case::new(name, bytes, expect)
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let line = "GET /TOKEN HTTP/1.1";
    let long = |length: usize| "a".repeat(length);
    let target = |length| format!("GET /TOKEN{} HTTP/1.1", long(length));
    let fields = |count| (0..count).map(|n| format!("x-{n}: a\r\n")).collect::<String>();
    let mut cases = vec![
        asked("a target of 7 KB", &target(7_000), "", Once("shop", fine)),
        asked("a target of 9 KB", &target(9_000), "", Refused(&[414])),
        asked("a target of 70 KB", &target(70_000), "", LARGE),
        asked("a target of 4 MB", &target(4_000_000), "", LARGE),
        asked(
            "a query of 9 KB",
            &format!("GET /TOKEN?{} HTTP/1.1", long(9_000)),
            "",
            Refused(&[414]),
        ),
        asked("a method of 100 KB", &format!("{} /TOKEN HTTP/1.1", long(100_000)), "", LARGE),
        asked("a field of 30 KB", line, &format!("x: {}\r\n", long(30_000)), Once("shop", fine)),
        // A head may have 64 KB in all.
        asked("a field of 40 KB", line, &format!("x: {}\r\n", long(40_000)), Once("shop", fine)),
        asked("a field of 66 KB", line, &format!("x: {}\r\n", long(66_000)), LARGE),
        asked("a field of 4 MB", line, &format!("x: {}\r\n", long(4_000_000)), LARGE),
        asked("a name of 40 KB", line, &format!("{}: x\r\n", long(40_000)), Once("shop", fine)),
        asked("a name of 70 KB", line, &format!("{}: x\r\n", long(70_000)), LARGE),
        asked("ninety fields", line, &fields(90), Once("shop", fine)),
        asked("two hundred fields", line, &fields(200), LARGE),
        asked("ten thousand fields", line, &fields(10_000), LARGE),
        asked("a host of 40 KB", line, &format!("host: {}\r\n", long(40_000)), LARGE),
        asked(
            "a cookie of 31 KB",
            line,
            &format!("cookie: {}\r\n", long(31_000)),
            RefusedOr(&[431], "shop", fine),
        ),
    ];
    cases.push(Case::new(
        "a body of 2 GB that is announced",
        "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 2147483648\r\n\r\nabc",
        Refused(&[413]),
    ));
    cases.push(Case::new(
        "a body beyond all that is",
        "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 18446744073709551615\r\n\r\nabc",
        Refused(&[400, 413, 431]),
    ));
    cases.push(Case::new(
        "a chunk of 2 GB that is announced",
        "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\n\r\n80000000\r\nabc",
        Broken,
    ));
    cases.push(Case::new(
        "a megabyte of empty lines",
        [
            &b"\r\n".repeat(500_000)[..],
            b"GET /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n",
        ]
        .concat(),
        RefusedOr(&[400, 431], "shop", fine),
    ));
    cases.push(Case::new("a megabyte of one letter", "a".repeat(1 << 20), LARGE));
    cases.push(Case::new("a megabyte of nulls", vec![0; 1 << 20], Refused(&[400])));
    cases
}
