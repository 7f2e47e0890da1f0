//! The same counts whatever the processor can do, and however many threads count: the whole program, byte for byte.

use std::process::Command;

use crate::oracle::Random;
use crate::system::{self, System};

#[test]
fn all_processors_and_threads_print_the_same() {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/library");
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for entry in walkdir::WalkDir::new(library).sort_by_file_name() {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            lines.extend(bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        }
    }
    // Large enough for several threads, with words that meet others than in the documents.
    let mut random = Random(7);
    let mut text = Vec::new();
    while text.len() < 5_000_000 {
        text.extend_from_slice(&lines[random.below(lines.len())]);
        if random.below(5) == 0 {
            text.pop();
        }
    }
    let system = System::new();
    system.write("text", &text);
    let available = ["avx512", "avx2", "portable"].into_iter().filter(|name| match *name {
        #[cfg(target_arch = "x86_64")]
        "avx512" => is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2"),
        #[cfg(target_arch = "x86_64")]
        "avx2" => is_x86_feature_detected!("avx2"),
        name => name == "portable",
    });
    let available: Vec<_> = available.collect();
    for profile in ["unicode", "whitespace"] {
        let mut printed: Option<String> = None;
        for processor in &available {
            for threads in ["1", "2", "7"] {
                let args = [
                    "count",
                    "text",
                    "--profile",
                    profile,
                    "--threads",
                    threads,
                    "--all",
                    "--format",
                    "json",
                ];
                let mut command = Command::new(env!("CARGO_BIN_EXE_wordfreq"));
                command.args(args);
                system.prepare(&mut command, &[("WORDFREQ_FAILPOINT_PROCESSOR", processor)]);
                let ended = system::run(command).code(0);
                let expected = printed.get_or_insert_with(|| ended.stdout.clone());
                assert!(ended.stdout == *expected, "{profile} {processor} {threads}");
            }
        }
    }
}
