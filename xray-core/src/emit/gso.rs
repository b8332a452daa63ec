//! Many datagrams with one call, where Linux parts them: generic segmentation
//! offload, `UDP_SEGMENT` in
//! [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html).

#[cfg(target_os = "linux")]
pub(super) use linux::{is_supported, send};
#[cfg(not(target_os = "linux"))]
pub(super) use nowhere::{is_supported, send};

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSlice};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::sockopt::UdpGsoSegment;
    use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};

    use crate::emit::bundle::{Bundle, DATAGRAMS};

    /// Asked of every socket: where it is unknown, the control message may be
    /// ignored, and all would arrive as one datagram.
    pub(in crate::emit) fn is_supported(socket: &UdpSocket) -> bool {
        getsockopt(socket, UdpGsoSegment).is_ok()
    }

    pub(in crate::emit) fn send(socket: &UdpSocket, bundle: &Bundle) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); 2 * DATAGRAMS];
        let bytes = bundle.joined(&mut slices) as u16;
        let slices = &slices[..2 * bundle.len()];
        let control = [ControlMessage::UdpGsoSegments(&bytes)];
        let fd = socket.as_raw_fd();
        sendmsg::<()>(fd, slices, &control, MsgFlags::empty(), None)?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod nowhere {
    use std::io;
    use std::net::UdpSocket;

    use crate::emit::bundle::Bundle;

    pub(in crate::emit) fn is_supported(_: &UdpSocket) -> bool {
        false
    }

    pub(in crate::emit) fn send(_: &UdpSocket, _: &Bundle) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
