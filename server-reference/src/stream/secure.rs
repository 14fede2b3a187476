//! A TCP connection that is encrypted.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::ServerConnection;
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{is_blocked, read_some};

/// How many bytes are encrypted at most before the socket takes them. Nothing overtakes them, so
/// they are few; all frames that fit into them are written at once.
const AHEAD: usize = 32 << 10;

/// A TCP connection that is encrypted, after its handshake.
#[derive(Debug)]
pub(crate) struct Secure {
    socket: TcpStream,
    session: Mutex<ServerConnection>,
}

impl Secure {
    pub(super) fn new(socket: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(AHEAD));
        Self { socket, session: Mutex::new(session) }
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether something was decrypted that nobody has taken, or the client has said that it was
    /// the last.
    pub(super) fn has_unread(&self) -> bool {
        let mut session = self.session.lock();
        !session.reader().into_first_chunk().is_err_and(|error| is_blocked(&error))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let session = &mut *self.session.lock();
        loop {
            match session.reader().read(buffer) {
                Err(error) if is_blocked(&error) => {}
                // Many clients end a connection without saying so in TLS first. What it carries
                // says by itself whether it is complete.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            match session.read_tls(&mut Socket(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let processed = session.process_new_packets();
            // It may have to be answered, by new keys or an alert. What cannot be sent now is sent
            // by whoever sees that this is behind; a socket that fails is found out by writing.
            let _ = flush(&self.socket, session);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let session = &mut *self.session.lock();
        flush(&self.socket, session)?;
        let written = session.writer().write_vectored(slices)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        match flush(&self.socket, session) {
            Err(error) if !is_blocked(&error) => Err(error),
            _ => Ok(written),
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.session.lock().wants_write()
    }

    pub(super) fn try_flush(&self) -> io::Result<()> {
        flush(&self.socket, &mut self.session.lock())
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.has_unread() {
                ready!(self.socket.poll_read_ready(cx))?;
            }
            match self.try_read(buf.initialize_unfilled()) {
                Err(error) if is_blocked(&error) => {}
                result => return Poll::Ready(result.map(|read| buf.advance(read))),
            }
        }
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, || self.try_write(slices))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_behind() {
            return Poll::Ready(Ok(()));
        }
        self.poll_writing(cx, || self.try_flush())
    }

    /// Tells the client that nothing more comes, then the network.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.get_mut().send_close_notify();
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_writing<R>(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match write() {
                Err(error) if is_blocked(&error) => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl Drop for Secure {
    /// However it ends, the client is told, if it has taken what came before.
    fn drop(&mut self) {
        let session = self.session.get_mut();
        session.send_close_notify();
        let _ = flush(&self.socket, session);
    }
}

/// Has the socket take all that is encrypted.
fn flush(socket: &TcpStream, session: &mut ServerConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut Socket(socket)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The socket as rustls wants it.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_some(self.0, buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
