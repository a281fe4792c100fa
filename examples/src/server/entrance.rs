//! The socket by which clients come in.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd as _,
};

use crate::screen::Stage;

/// Where clients come in.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a socket is opened here or somewhere else")]
pub enum Entrance {
    /// At this address; at a free port of it where that one is busy, which is said.
    At(SocketAddr),
    /// By a socket that listens already. Whoever has another descriptor of it keeps it open over a
    /// restart: clients that come meanwhile wait in its backlog.
    Handed(TcpListener),
}

/// As it is called where something is wrong with it.
impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => write!(f, "at {address}"),
            Self::Handed(_) => f.write_str("by the socket that was handed on"),
        }
    }
}

impl Entrance {
    /// The socket that this program's standard input is, as a supervisor hands one on.
    ///
    /// # Errors
    ///
    /// When standard input is no socket that listens.
    pub fn of_stdin() -> io::Result<Self> {
        let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        let listens = rustix::net::sockopt::socket_acceptconn(&listener);
        match listens {
            Ok(true) => Ok(Self::Handed(listener)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "standard input is no socket that listens",
            )),
        }
    }

    /// A listening socket, and where it listens.
    pub(super) fn open(self, stage: &Stage) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = match self {
            Self::Handed(listener) => listener,
            Self::At(address) => match TcpListener::bind(address) {
                Err(busy) if busy.kind() == io::ErrorKind::AddrInUse => {
                    let listener = TcpListener::bind(SocketAddr::new(address.ip(), 0))?;
                    let free = listener.local_addr()?.port();
                    stage.say(&*format!("Port {} is busy; port {free} is free.", address.port()));
                    listener
                }
                bound => bound?,
            },
        };
        let address = listener.local_addr()?;
        Ok((listener, address))
    }
}
