//! The numbers that bound what is recorded and sent, with their sources.

/// Largest UDP payload over IPv4: 65,535 less the IP and UDP headers.
pub(crate) const DATAGRAM_BYTES: usize = 65_507;

/// What stands before each document, line feed included.
/// [Sending trace data](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon).
pub(crate) const DATAGRAM_HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";

/// Largest document that fits into one datagram behind the daemon's longest
/// spelling of the header line.
pub(crate) const DOCUMENT_BYTES_MAX: usize = DATAGRAM_BYTES - 33;

/// Largest document by default: the service takes 64 kB.
pub(crate) const DOCUMENT_BYTES: usize = 64_000;

/// Smallest document limit that can be set.
pub(crate) const DOCUMENT_BYTES_MIN: usize = 1_024;

/// Characters of a name (schema).
pub(crate) const NAME_CHARS: usize = 200;
/// The same in bytes of UTF-8, and one character more to tell that it was cut.
pub(crate) const NAME_BYTES: usize = (NAME_CHARS + 1) * 4;

/// Characters of an annotation key (schema).
pub(crate) const KEY_CHARS: usize = 500;
/// The same in bytes of UTF-8.
pub(crate) const KEY_BYTES: usize = KEY_CHARS * 4;

/// Annotations that X-Ray indexes in a trace
/// ([quotas](https://docs.aws.amazon.com/general/latest/gr/xray.html)).
pub(crate) const ANNOTATIONS: usize = 50;

/// Links that the service takes of a segment
/// ([linking](https://docs.aws.amazon.com/xray/latest/devguide/xray-tracelinking.html)),
/// and precursors of a subsegment: more go first where something must.
pub(crate) const LINKS: usize = 20;

/// Bytes of a metadata namespace.
pub(crate) const NAMESPACE_BYTES: usize = 200;

/// Characters of an annotation's text (schema).
pub(crate) const ANNOTATION_CHARS: usize = 1_000;
/// The same in bytes of UTF-8, and one character more to tell that it was cut.
pub(crate) const ANNOTATION_BYTES: usize = (ANNOTATION_CHARS + 1) * 4;

/// Characters of the strings in `http`, and of `user` (schema).
pub(crate) const STRING_CHARS: usize = 250;
/// The same in bytes of UTF-8, and one character more to tell that it was cut.
pub(crate) const STRING_BYTES: usize = (STRING_CHARS + 1) * 4;

/// Bytes of one metadata value: more could never be sent.
pub(crate) const METADATA_BYTES: usize = DOCUMENT_BYTES_MAX;

/// Bytes that a mark takes which stands for a value that was trimmed.
pub(crate) const MARK_BYTES: usize = 40;

/// Bytes of one text of the `sql` block.
pub(crate) const SQL_BYTES: usize = 16 << 10;

/// Bytes of an exception's message.
pub(crate) const MESSAGE_BYTES: usize = 4_096;
/// Bytes of an exception's type.
pub(crate) const EXCEPTION_KIND_BYTES: usize = 250;
/// Frames of a stack, as in the SDK for Java.
pub(crate) const STACK_FRAMES: usize = 50;
/// Bytes of the texts of a frame.
pub(crate) const FRAME_BYTES: usize = 250;
/// Links followed in a chain of sources.
pub(crate) const EXCEPTIONS: usize = 16;

/// Values of one entity; more would fit into no document.
pub(crate) const VALUES: u32 = 4_096;

/// Estimated bytes of one entity with its values; a document has a sixteenth.
pub(crate) const VALUE_BYTES: usize = 1 << 20;

/// Exceptions for which an entity that is full has room all the same: four
/// whole chains.
pub(crate) const CAUSES: u32 = 4 * EXCEPTIONS as u32;
/// Estimated bytes for which it has.
pub(crate) const CAUSE_BYTES: usize = 64 << 10;

/// Estimated bytes one record holds before further values are left out. Offsets
/// of 32 bits reach far beyond what they and as many dead ones take.
pub(crate) const RECORD_BYTES: usize = 64 << 20;

/// Tallies of one entity; X-Ray indexes 50 annotations a trace.
pub(crate) const TALLIES: usize = 500;

/// Bytes of each document that are left to hooks, where there are any.
pub(crate) const HOOK_BYTES: usize = 512;

/// Levels of subsegments in one document; what lies deeper leaves as a
/// document of its own. Each level is two of JSON, and common readers stop at
/// 128 of those.
pub(crate) const DOCUMENT_DEPTH: u16 = 40;
/// Levels of JSON in one metadata value, on top of those.
pub(crate) const METADATA_DEPTH: usize = 32;

/// How long something may be open before it is shown as in progress.
pub(crate) const SHOW_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// Closed bytes (estimated) after which finished subtrees leave an open trace:
/// two datagrams. Each leaves as a document of its own, as siblings cannot share
/// one; what is still there when the segment closes may share the segment's.
pub(crate) const STREAM_BYTES: usize = 112_000;

/// Closed entities after which finished subtrees leave an open trace.
pub(crate) const STREAM_ENTITIES: usize = 1_000;

/// Open entities of one trace by default; what is begun beyond is not recorded.
pub(crate) const OPEN_ENTITIES: usize = 250_000;

/// Traces of which something is open by default; beyond, the oldest are given up.
pub(crate) const OPEN_TRACES: usize = 100_000;

/// Closed bytes (estimated) a trace that is not sampled may hold back until its
/// root closes.
pub(crate) const UNDECIDED_BYTES: usize = 1 << 20;

/// Pieces the queue to the emission thread holds by default.
pub(crate) const QUEUE_PIECES: usize = 4_096;
/// Bytes (estimated) the queue to the emission thread holds by default.
pub(crate) const QUEUE_BYTES: usize = 32 << 20;
