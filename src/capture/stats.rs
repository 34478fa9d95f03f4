//! What a walk met besides frames.

use crate::model::Timestamp;

/// How many damaged regions are described one by one; all are counted.
pub const MAX_DAMAGE: usize = 64;

/// Why bytes of a capture could not be read as a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DamageReason {
    /// A pcap record claims more captured bytes than any capture has.
    CapturedLength,
    /// A pcapng block length is below 12, no multiple of 4, or beyond 16 MiB.
    BlockLength,
    /// The two copies of a pcapng block length differ.
    BlockTrailer,
    /// A pcapng block is too short for its own fields or for the packet it claims to hold.
    BlockContent,
    /// A pcapng packet names an interface that was not described, or whose description is damaged.
    UnknownInterface,
    /// A pcapng section header has no byte-order magic or another major version than 1.
    SectionHeader,
    /// A record claims to go on beyond the end of the file, yet other records follow inside it.
    BeyondEnd,
    /// Zeros stand where a record should begin: nothing was written there.
    Zeros,
}

impl DamageReason {
    /// The reason in words.
    pub const fn name(self) -> &'static str {
        match self {
            DamageReason::CapturedLength => "implausible captured length",
            DamageReason::BlockLength => "implausible block length",
            DamageReason::BlockTrailer => "block lengths differ",
            DamageReason::BlockContent => "block too short for its content",
            DamageReason::UnknownInterface => "unknown interface",
            DamageReason::SectionHeader => "bad section header",
            DamageReason::BeyondEnd => "record reaches beyond the end",
            DamageReason::Zeros => "nothing but zeros",
        }
    }
}

/// Bytes that could not be read as a record and were passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where they begin in the file.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// Frames of this walk before them.
    pub frame_before: u64,
    /// Why.
    pub reason: DamageReason,
}

/// The packet whose record the end of the file cuts off. It is not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutFrame {
    /// When it was captured.
    pub ts: Timestamp,
    /// Captured bytes that its header declares.
    pub captured_len: u32,
    /// Bytes on the wire that its header declares.
    pub original_len: u32,
    /// Captured bytes that are in the file.
    pub present: u64,
}

/// The file ends inside a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutAtEnd {
    /// Where the record begins in the file.
    pub offset: u64,
    /// Bytes from there to the end of the file, all of them lost.
    pub bytes: u64,
    /// The packet, where its header is whole and it is one.
    pub frame: Option<CutFrame>,
}

/// Kinds of pcapng blocks that hold no packet (draft-ietf-opsawg-pcapng, 11.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockKind {
    /// Name Resolution Block.
    NameResolution,
    /// Interface Statistics Block.
    InterfaceStatistics,
    /// systemd Journal Export Block.
    SystemdJournal,
    /// Decryption Secrets Block.
    DecryptionSecrets,
    /// Custom Block, copiable or not.
    Custom,
    /// A type reserved for local use (most significant bit set), such as Apple's process blocks.
    Local,
    /// Any other type.
    Unknown,
}

impl BlockKind {
    /// All kinds, in the order of the declaration.
    pub const ALL: [BlockKind; 7] = [
        BlockKind::NameResolution,
        BlockKind::InterfaceStatistics,
        BlockKind::SystemdJournal,
        BlockKind::DecryptionSecrets,
        BlockKind::Custom,
        BlockKind::Local,
        BlockKind::Unknown,
    ];

    /// The kind of a block type.
    pub(super) const fn of(block_type: u32) -> BlockKind {
        match block_type {
            4 => BlockKind::NameResolution,
            5 => BlockKind::InterfaceStatistics,
            9 => BlockKind::SystemdJournal,
            10 => BlockKind::DecryptionSecrets,
            0x0bad | 0x4000_0bad => BlockKind::Custom,
            0x8000_0000.. => BlockKind::Local,
            _ => BlockKind::Unknown,
        }
    }

    /// The kind in words.
    pub const fn name(self) -> &'static str {
        match self {
            BlockKind::NameResolution => "name_resolution",
            BlockKind::InterfaceStatistics => "interface_statistics",
            BlockKind::SystemdJournal => "systemd_journal",
            BlockKind::DecryptionSecrets => "decryption_secrets",
            BlockKind::Custom => "custom",
            BlockKind::Local => "local",
            BlockKind::Unknown => "unknown",
        }
    }
}

/// How many pcapng blocks of each kind were passed over. Nothing is wrong with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SkippedBlocks([u64; BlockKind::ALL.len()]);

impl SkippedBlocks {
    /// Blocks of each kind, those of which there were none included.
    pub fn counts(&self) -> impl Iterator<Item = (BlockKind, u64)> + '_ {
        BlockKind::ALL.into_iter().zip(self.0)
    }

    /// Blocks of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, kind: BlockKind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count += 1;
        }
    }
}

/// What a walk met. Walks of adjacent pieces merge, in order, into what one walk would have met.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WalkStats {
    /// Frames delivered.
    pub frames: u64,
    /// Those of them with fewer bytes captured than there were on the wire (snap length).
    pub frames_cut: u64,
    /// Frames whose time was out of range: a fraction of a second or more in the field for
    /// fractions (up to two seconds it is carried over, beyond that ignored), or a time beyond what 64 bits of
    /// nanoseconds hold (it is taken for the nearest that they do).
    pub bad_timestamps: u64,
    /// The first [`MAX_DAMAGE`] damaged regions.
    pub damage: Vec<Damage>,
    /// All damaged regions.
    pub damaged_regions: u64,
    /// Bytes in all of them.
    pub damaged_bytes: u64,
    /// The file ends inside a record.
    pub cut_at_end: Option<CutAtEnd>,
    /// pcap file headers between records, where captures of one kind were joined byte by byte.
    /// Nothing is wrong with what follows.
    pub file_headers: u64,
    /// pcapng blocks without packets.
    pub skipped: SkippedBlocks,
    /// pcapng sections begun.
    pub sections: u64,
    /// pcapng interfaces described.
    pub interfaces: u64,
    /// pcapng interfaces beyond the 65,536th of a section; packets of theirs count as damage.
    pub interfaces_over_limit: u64,
}

impl WalkStats {
    /// Adds what the walk of the piece right behind this one met.
    pub fn merge(&mut self, next: &WalkStats) {
        let room = MAX_DAMAGE.saturating_sub(self.damage.len());
        for damage in next.damage.iter().take(room) {
            self.damage.push(Damage {
                frame_before: damage.frame_before + self.frames,
                ..*damage
            });
        }
        self.frames += next.frames;
        self.frames_cut += next.frames_cut;
        self.bad_timestamps += next.bad_timestamps;
        self.damaged_regions += next.damaged_regions;
        self.damaged_bytes += next.damaged_bytes;
        self.cut_at_end = self.cut_at_end.or(next.cut_at_end);
        for (count, more) in self.skipped.0.iter_mut().zip(next.skipped.0) {
            *count += more;
        }
        self.file_headers += next.file_headers;
        self.sections += next.sections;
        self.interfaces += next.interfaces;
        self.interfaces_over_limit += next.interfaces_over_limit;
    }

    /// Whether the capture is whole: no damage, and no record cut off at its end.
    pub fn is_clean(&self) -> bool {
        self.damaged_regions == 0 && self.cut_at_end.is_none()
    }

    pub(super) fn add_damage(&mut self, offset: u64, bytes: u64, reason: DamageReason) {
        self.damaged_regions += 1;
        self.damaged_bytes += bytes;
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(Damage {
                offset,
                bytes,
                frame_before: self.frames,
                reason,
            });
        }
    }
}
