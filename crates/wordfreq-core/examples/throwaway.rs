//! Throw-away.
use std::io::Read;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
use wordfreq_core::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let profile = Profile::new(args[1].parse().unwrap());
    if args[2] == "mem" {
        let bytes = std::fs::read(&args[3]).unwrap();
        let n: usize = args.get(4).map_or(9, |n| n.parse().unwrap());
        let mut best = f64::MAX;
        let mut all = vec![];
        for _ in 0..n {
            let start = cpu();
            let mut counter = Counter::new(&profile);
            for chunk in bytes.chunks(65536) {
                counter.feed(chunk);
            }
            let counts = counter.finish().unwrap();
            let t = cpu() - start;
            std::hint::black_box(counts.distinct());
            best = best.min(t);
            all.push(t);
        }
        all.sort_by(f64::total_cmp);
        println!(
            "{} {}: best {:.4} s {:.0} MB/s median {:.0} MB/s",
            args[1],
            args[3],
            best,
            bytes.len() as f64 / best / 1e6,
            bytes.len() as f64 / all[n / 2] / 1e6
        );
        return;
    }
    let mut file = std::fs::File::open(&args[2]).unwrap();
    let mut buffer = vec![0; args.get(3).map_or(65536, |n| n.parse().unwrap())];
    let mut counter = Counter::new(&profile);
    loop {
        let n = file.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        counter.feed(&buffer[..n]);
    }
    let counts = counter.finish().unwrap();
    println!("{} {} {}", counts.words(), counts.distinct(), counts.over_long());
    for row in counts.top(10) {
        println!("{} {}", row.word, row.count);
    }
}
