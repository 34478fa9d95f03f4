//! libpcap's own compiler, and a machine for what it compiles: the oracle for filter expressions.

use std::io::ErrorKind;
use std::process::Command;

/// Whether there is a tcpdump to compile with; says so on standard error where there is none.
pub fn compiler_is_there() -> bool {
    match Command::new("tcpdump").arg("--version").output() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
            let () = eprintln!("skipped: tcpdump, which compiles filters, is not installed");
            false
        }
        Err(error) => panic!("tcpdump: {error}"),
    }
}

/// A program of the classic BSD packet filter.
#[derive(Debug)]
pub struct Program(Vec<Instruction>);

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u32,
    jt: usize,
    jf: usize,
    k: u32,
}

impl Program {
    /// Compiles an expression for Ethernet frames; an answer that is no program is an error. The
    /// optimiser is off, since it refuses expressions that cannot match.
    pub fn compile(expression: &str) -> Result<Program, String> {
        let output = Command::new("tcpdump")
            .args(["-y", "EN10MB", "-O", "-ddd", "--", expression])
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        // A count, then one instruction a line.
        let text = String::from_utf8(output.stdout).unwrap();
        let instructions = text.lines().skip(1).map(|line| {
            let numbers: Vec<u32> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            let [code, jt, jf, k] = numbers[..] else {
                panic!("no instruction: {line}");
            };
            let (jt, jf) = (jt as usize, jf as usize);
            Instruction { code, jt, jf, k }
        });
        Ok(Program(instructions.collect()))
    }

    /// Whether the program accepts the frame. Opcodes are those of `pcap/bpf.h`.
    pub fn accepts(&self, frame: &[u8]) -> bool {
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
        loop {
            let Instruction { code, jt, jf, k } = self.0[at];
            at += 1;
            let operand = if code & 0x08 == 0 { k } else { x };
            match code & 0x07 {
                // Loads into A and X.
                class @ (0 | 1) => {
                    let value = match code & 0xe0 {
                        0x00 => Some(k),
                        0x20 => load(frame, code, k),
                        0x40 => load(frame, code, x.wrapping_add(k)),
                        0x60 => Some(memory[k as usize]),
                        0x80 => Some(frame.len() as u32),
                        0xa0 => frame.get(k as usize).map(|byte| 4 * u32::from(byte & 0x0f)),
                        mode => panic!("mode {mode:#x}"),
                    };
                    // A load beyond the end of the frame rejects it.
                    let Some(value) = value else { return false };
                    *if class == 0 { &mut a } else { &mut x } = value;
                }
                2 => memory[k as usize] = a,
                3 => memory[k as usize] = x,
                4 => {
                    a = match code & 0xf0 {
                        0x00 => a.wrapping_add(operand),
                        0x10 => a.wrapping_sub(operand),
                        0x40 => a | operand,
                        0x50 => a & operand,
                        operation => panic!("operation {operation:#x}"),
                    }
                }
                5 => {
                    let jump = match code & 0xf0 {
                        0x00 => {
                            at += k as usize;
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        0x40 => a & operand != 0,
                        condition => panic!("condition {condition:#x}"),
                    };
                    at += if jump { jt } else { jf };
                }
                6 => return k != 0,
                _ if code & 0xf8 == 0 => x = a,
                _ => a = x,
            }
        }
    }
}

/// 4, 2 or 1 bytes.
fn load(frame: &[u8], code: u32, at: u32) -> Option<u32> {
    let len = match code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        _ => 1,
    };
    let bytes = frame.get(at as usize..)?.get(..len)?;
    Some(
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
    )
}
