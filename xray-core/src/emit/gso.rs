//! Many datagrams with one call, where Linux parts them: generic segmentation
//! offload, `UDP_SEGMENT` in
//! [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html).
//!
//! All but the last have to be equally long. Blanks at the end of the header
//! line fill them up: whoever receives it reads it as JSON, and the documents
//! are as they were.

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

    use crate::emit::bundle::{Bundle, DATAGRAMS, LONGEST};
    use crate::limits::DATAGRAM_HEADER;

    const HEADER: usize = DATAGRAM_HEADER.len() - 1;

    /// The header line without its line feed, and blanks.
    static HEADER_AND_BLANKS: [u8; HEADER + LONGEST] = {
        let mut bytes = [b' '; HEADER + LONGEST];
        let (header, _) = bytes.split_at_mut(HEADER);
        header.copy_from_slice(DATAGRAM_HEADER.split_at(HEADER).0);
        bytes
    };

    /// Asked of every socket: where it is unknown, the control message may be
    /// ignored, and all would arrive as one datagram.
    pub(in crate::emit) fn is_supported(socket: &UdpSocket) -> bool {
        getsockopt(socket, UdpGsoSegment).is_ok()
    }

    /// Sends all that are left of the bundle.
    pub(in crate::emit) fn send(socket: &UdpSocket, bundle: &Bundle) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); 2 * DATAGRAMS];
        let slices = join(bundle, &mut slices);
        let bytes = bundle.longest() as u16; // LONGEST at most
        let control = [ControlMessage::UdpGsoSegments(&bytes)];
        let fd = socket.as_raw_fd();
        sendmsg::<()>(fd, slices, &control, MsgFlags::empty(), None)?;
        Ok(())
    }

    /// Two slices a datagram: the header line with its blanks, and the rest.
    fn join<'s, 'b>(
        bundle: &'b Bundle,
        slices: &'s mut [IoSlice<'b>; 2 * DATAGRAMS],
    ) -> &'s [IoSlice<'b>] {
        let mut left = bundle.len();
        let used = &mut slices[..2 * left];
        for (pair, datagram) in used.chunks_exact_mut(2).zip(bundle.datagrams()) {
            left -= 1;
            let is_last = left == 0;
            let end = if is_last {
                datagram.len()
            } else {
                bundle.longest()
            };
            let header = HEADER + end - datagram.len();
            pair[0] = IoSlice::new(&HEADER_AND_BLANKS[..header]);
            pair[1] = IoSlice::new(&datagram[HEADER..]);
        }
        used
    }

    #[cfg(test)]
    mod tests {
        use std::sync::Arc;

        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn what_is_joined_falls_apart_again(
                sizes in prop::collection::vec(HEADER + 1..LONGEST, 1..=DATAGRAMS),
            ) {
                let datagram = |size: usize| {
                    let mut datagram = DATAGRAM_HEADER.to_vec();
                    datagram.resize(size, b'd');
                    datagram
                };
                let put: Vec<Vec<u8>> = sizes.into_iter().map(datagram).collect();
                let (common, mut bundle) = (Arc::default(), Bundle::default());
                for datagram in &put {
                    bundle.push(&common, datagram, 0);
                }
                let mut slices = [IoSlice::new(&[]); 2 * DATAGRAMS];
                let joined: Vec<u8> = join(&bundle, &mut slices)
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                let part = |part: &[u8]| {
                    let line = part.iter().position(|byte| *byte == b'\n').unwrap();
                    [part[..line].trim_ascii_end(), &part[line..]].concat()
                };
                let parted: Vec<Vec<u8>> = joined.chunks(bundle.longest()).map(part).collect();
                prop_assert_eq!(parted, put);
            }
        }
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
