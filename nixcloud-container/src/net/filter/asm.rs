//! The kernel's classic packet filter, put together: loads, comparisons, jumps forward.
//!
//! A program answers with one number. Where it reads beyond the end of a packet, the kernel answers 0 for it.

/// An instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many are skipped where a comparison holds.
    pub then: u8,
    /// How many are skipped where it does not.
    pub other: u8,
    /// The operand.
    pub k: u32,
}

/// A program, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(pub Vec<Instruction>);

impl Program {
    /// As the kernel takes it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 8);
        for instruction in &self.0 {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.then, instruction.other]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        bytes
    }
}

/// The codes of include/uapi/linux/bpf_common.h and filter.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_WORD_AT_X: u16 = 0x40;
const LOAD_BYTE_AT_X: u16 = 0x50;
const X_IMMEDIATE: u16 = 0x01;
const X_HEADER_LENGTH: u16 = 0xb1;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Read instead of the packet: whether the frame carries a VLAN tag. The kernel takes the tag out of the frame.
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;

/// A place that is jumped to, before it is known where that is.
#[derive(Debug, Clone, Copy)]
pub struct Label(usize);

/// A program being put together. Each jump to a label is one of its own, since a comparison's reaches only 255 far.
#[derive(Debug)]
pub struct Assembler {
    code: Vec<Instruction>,
    /// Where labels are.
    labels: Vec<Option<usize>>,
    /// Which instruction jumps to which label.
    jumps: Vec<(usize, Label)>,
    pass: u32,
    drop: u32,
}

impl Assembler {
    /// An empty program that answers `pass` or `drop`.
    #[must_use]
    pub fn new(pass: u32, drop: u32) -> Self {
        Self { code: Vec::new(), labels: Vec::new(), jumps: Vec::new(), pass, drop }
    }

    fn emit(&mut self, code: u16, k: u32) {
        self.code.push(Instruction { code, then: 0, other: 0, k });
    }

    fn skip_next(&mut self, code: u16, k: u32, if_holds: bool) {
        let (then, other) = if if_holds { (1, 0) } else { (0, 1) };
        self.code.push(Instruction { code, then, other, k });
    }

    /// A place to jump to.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label here.
    pub fn here(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.code.len());
        }
    }

    /// Loads four bytes of the packet.
    pub fn word(&mut self, at: u32) {
        self.emit(LOAD_WORD, at);
    }

    /// Loads two bytes.
    pub fn half(&mut self, at: u32) {
        self.emit(LOAD_HALF, at);
    }

    /// Loads a byte.
    pub fn byte(&mut self, at: u32) {
        self.emit(LOAD_BYTE, at);
    }

    /// Loads four bytes, `at` from where X points.
    pub fn word_at_x(&mut self, at: u32) {
        self.emit(LOAD_WORD_AT_X, at);
    }

    /// Loads two bytes, `at` from where X points.
    pub fn half_at_x(&mut self, at: u32) {
        self.emit(LOAD_HALF_AT_X, at);
    }

    /// Loads a byte, `at` from where X points.
    pub fn byte_at_x(&mut self, at: u32) {
        self.emit(LOAD_BYTE_AT_X, at);
    }

    /// Points X somewhere.
    pub fn x(&mut self, at: u32) {
        self.emit(X_IMMEDIATE, at);
    }

    /// Points X to as many bytes as the IPv4 header that begins at `at` is long.
    pub fn x_header_length(&mut self, at: u32) {
        self.emit(X_HEADER_LENGTH, at);
    }

    /// Loads whether there is a VLAN tag.
    pub fn vlan_tag(&mut self) {
        self.emit(LOAD_BYTE, VLAN_TAG_PRESENT);
    }

    /// Leaves these bits.
    pub fn and(&mut self, mask: u32) {
        self.emit(AND, mask);
    }

    /// Goes on at a label.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(JUMP, 0);
    }

    /// Goes on at a label if it is `k`.
    pub fn if_is(&mut self, k: u32, label: Label) {
        self.skip_next(JUMP_IF_EQUAL, k, false);
        self.jump(label);
    }

    /// Goes on at a label if it is not `k`.
    pub fn if_not(&mut self, k: u32, label: Label) {
        self.skip_next(JUMP_IF_EQUAL, k, true);
        self.jump(label);
    }

    /// Goes on at a label if one of these bits is set.
    pub fn if_any(&mut self, bits: u32, label: Label) {
        self.skip_next(JUMP_IF_SET, bits, false);
        self.jump(label);
    }

    /// Drops what is not `k`.
    pub fn must_be(&mut self, k: u32) {
        self.skip_next(JUMP_IF_EQUAL, k, true);
        self.refuse();
    }

    /// Drops what is `k`.
    pub fn must_not_be(&mut self, k: u32) {
        self.skip_next(JUMP_IF_EQUAL, k, false);
        self.refuse();
    }

    /// Lets it through.
    pub fn pass(&mut self) {
        self.emit(RETURN, self.pass);
    }

    /// Drops it.
    pub fn refuse(&mut self) {
        self.emit(RETURN, self.drop);
    }

    /// The program, with a last instruction that drops what comes so far.
    #[must_use]
    pub fn finish(mut self) -> Program {
        self.refuse();
        let end = self.code.len() - 1;
        for (from, label) in self.jumps {
            // A label that was never put anywhere is the end, which drops.
            let to = self.labels.get(label.0).copied().flatten().unwrap_or(end);
            if let Some(jump) = self.code.get_mut(from) {
                jump.k = u32::try_from(to.saturating_sub(from + 1)).unwrap_or(0);
            }
        }
        Program(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_their_labels() {
        let mut asm = Assembler::new(1, 0);
        let (found, nowhere) = (asm.label(), asm.label());
        asm.half(12);
        asm.if_is(0x800, found);
        asm.jump(nowhere);
        asm.here(found);
        asm.pass();
        let Program(code) = asm.finish();
        let targets: Vec<(u16, u32)> = code.iter().map(|i| (i.code, i.k)).collect();
        assert_eq!(targets, [(0x28, 12), (0x15, 0x800), (0x05, 1), (0x05, 1), (0x06, 1), (0x06, 0)]);
        assert_eq!((code[1].then, code[1].other), (0, 1));
    }

    #[test]
    fn the_bytes_are_those_of_the_kernel() {
        let program = Program(vec![Instruction { code: 6, then: 1, other: 2, k: 0x0102_0304 }]);
        let mut expected = 6u16.to_ne_bytes().to_vec();
        expected.extend([1, 2]);
        expected.extend(0x0102_0304u32.to_ne_bytes());
        assert_eq!(program.bytes(), expected);
    }
}
