//! `wordfreq simulate`: what a plan does, what it costs, and what it warns of.

use crate::program::Program;

const BURST: [&str; 6] = ["simulate", "--arrivals", "burst:130", "--service", "uniform:10s..20s", "--preset"];

fn simulated(extra: &[&str]) -> serde_json::Value {
    Program::new().run(&[&BURST[..], extra, &["--format", "json"]].concat()).json()
}

#[test]
fn the_original_grows_one_by_one_to_its_most_and_comes_back() {
    let program = Program::new();
    let args = [
        &BURST[..],
        &["classic", "--format", "json", "--timeline", "t.csv", "--chart", "c.svg", "--chart", "c.png"],
    ];
    let report = program.run(&args.concat()).json();
    let policy = &report["policies"][0];
    assert_eq!((&policy["name"], &policy["documents"]), (&"classic".into(), &130.into()), "{policy}");
    assert_eq!(
        (&policy["max_in_service"], &policy["launches"], &policy["terminations"]),
        (&5.into(), &4.into(), &4.into())
    );
    let least = report["clairvoyant"]["instance_hours"].as_f64().unwrap();
    assert!(least > 0.5 && policy["instance_hours"].as_f64().unwrap() >= least, "{report}");
    let latency = &policy["latency_seconds"];
    let at = |name: &str| latency[name].as_f64().unwrap();
    assert!(at("p50") < at("p95") && at("p95") <= at("p99") && at("p99") <= at("max"), "{latency}");
    let timeline = std::fs::read_to_string(program.path("t.csv")).unwrap();
    let rows: Vec<Vec<&str>> = timeline.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let grown: Vec<u64> = rows
        .windows(2)
        .filter(|pair| pair[1][4].parse::<u32>().unwrap() > pair[0][4].parse::<u32>().unwrap())
        .map(|pair| pair[1][1].parse().unwrap())
        .collect();
    assert_eq!(grown.len(), 4, "one at a time: {timeline}");
    assert!(grown[0] >= 60 && grown.windows(2).all(|pair| pair[1] - pair[0] >= 120), "{grown:?}");
    assert_eq!(rows.last().unwrap()[5], "1", "back to one");
    let svg = std::fs::read_to_string(program.path("c.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("in service") && svg.contains("classic"));
    let png = std::io::BufReader::new(std::fs::File::open(program.path("c.png")).unwrap());
    let mut picture = png::Decoder::new(png).read_info().unwrap();
    let mut pixels = vec![0; picture.output_buffer_size().unwrap()];
    let frame = picture.next_frame(&mut pixels).unwrap();
    picture.finish().unwrap();
    assert_eq!((frame.width, frame.height, frame.color_type), (1200, 480, png::ColorType::Rgb));
    let (pixels, _) = pixels.as_chunks();
    let is_white = |pixel: &&[u8; 3]| **pixel == [255; 3];
    let has_colour = |[red, green, blue]: &[u8; 3]| red != green || green != blue;
    assert!(pixels.iter().filter(is_white).count() > pixels.len() / 2, "on white");
    assert!(pixels.iter().any(has_colour), "lines in their colours");
}

#[test]
fn on_a_throughput_it_never_leaves_one_and_says_why() {
    let report = simulated(&["classic", "--metric", "NumberOfMessagesReceived"]);
    let policy = &report["policies"][0];
    assert_eq!((&policy["max_in_service"], &policy["launches"]), (&1.into(), &0.into()), "{policy}");
    let warnings = policy["warnings"].to_string();
    assert!(warnings.contains("what passes through the queue, not what waits in it"), "{warnings}");
}

#[test]
fn the_same_seed_says_the_same_and_several_plans_stand_side_by_side() {
    let args =
        ["latency", "--preset", "classic", "--preset", "fixed", "--failures", "0.1", "--lifetime", "30min"];
    let report = simulated(&args);
    assert_eq!(report, simulated(&args));
    let names: Vec<_> = report["policies"].as_array().unwrap().iter().map(|policy| &policy["name"]).collect();
    assert_eq!(names, ["latency", "classic", "fixed"]);
    for policy in report["policies"].as_array().unwrap() {
        assert_eq!((&policy["documents"], &policy["unfinished"]), (&130.into(), &0.into()), "{policy}");
    }
}

#[test]
fn what_cannot_be_simulated_is_refused_with_the_mend() {
    for (args, mend) in [
        (&["classic", "--instance-type", "t9.nano"][..], "known are"),
        (&["classic", "--min", "3", "--max", "2"], "max"),
        (&["classic", "--failures", "1"], "to below 1"),
        (&["classic", "--lifetime", "0s"], "shorter than a second"),
        (&["classic", "--max", "100001"], "100000"),
        (&["classic", "--metric", "Backlog"], "ApproximateNumberOfMessagesVisible"),
    ] {
        let message = Program::new().run(&[&BURST[..], args].concat()).ended(2);
        assert!(message.contains(mend), "{message}");
    }
    let message = Program::new().run(&["simulate", "--arrivals", "soon", "--service", "1s"]).ended(2);
    assert!(message.contains("burst:COUNT"), "{message}");
}

#[test]
fn protection_spares_a_batch_and_can_be_left_out() {
    // With this seed every instance holds a batch when the first is to go.
    let scaled_in = |protect: &str| {
        let report = simulated(&["classic", "--prefetch", "10", "--seed", "2", "--protect", protect]);
        let policy = &report["policies"][0];
        assert_eq!((&policy["documents"], &policy["unfinished"]), (&130.into(), &0.into()), "{policy}");
        policy["instance_hours"].as_f64().unwrap()
    };
    assert!(scaled_in("true") > scaled_in("false"), "who finishes its batch stays longer");
    assert!(
        Program::new()
            .run(&[&BURST[..], &["classic", "--protect", "maybe"]].concat())
            .ended(2)
            .contains("true")
    );
}

#[test]
fn plan_files_stand_beside_presets_under_their_own_names() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plans");
    let (classic, step) = (format!("{root}/classic.toml"), format!("{root}/step.toml"));
    let report = simulated(&["classic", "--plan", &classic, "--plan", &step]);
    let policies = report["policies"].as_array().unwrap();
    assert_eq!(policies[0], policies[1], "the file says what the preset says");
    assert_eq!((&policies[2]["name"], policies.len()), (&"step".into(), 3));
    assert!(policies[2]["max_in_service"].as_u64() > Some(5), "its own bounds: {}", policies[2]);

    let alone = |extra: &[&str]| {
        let args =
            ["simulate", "--arrivals", "burst:130", "--service", "15s", "--format", "json", "--plan", &step];
        Program::new().run(&[&args[..], extra].concat())
    };
    let report = alone(&["--max", "3", "--metric", "BacklogPerInstance"]).json();
    let policies = report["policies"].as_array().unwrap();
    assert_eq!((&policies[0]["name"], policies.len()), (&"step on BacklogPerInstance".into(), 1));
    assert_eq!(policies[0]["max_in_service"], 3);
    let message = alone(&["--max", "0"]).ended(2);
    assert!(message.contains("step: min 1 is above max 0"), "{message}");

    let program = Program::new();
    std::fs::write(
        program.path("once.toml"),
        "min = 1\nmax = 2\n[[schedule]]\nname = 's'\nat = '2027-01-01T00:00:00Z'\nmin = 2\n",
    )
    .unwrap();
    let args = ["simulate", "--arrivals", "burst:1", "--service", "1s", "--plan"];
    let report = program.run(&[&args[..], &["once.toml", "--format", "json"]].concat()).json();
    assert!(
        report["policies"][0]["warnings"][0].as_str().unwrap().contains("a moment of the calendar"),
        "{report}"
    );
    let message = program.run(&[&args[..], &["nowhere.toml"]].concat()).ended(2);
    assert!(message.contains("nowhere.toml"), "{message}");
}

#[test]
fn on_a_day_with_a_wave_and_batches_latency_keeps_its_target_for_little_more_than_a_clairvoyant() {
    let day = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/daily-wave.csv");
    for protect in ["true", "false"] {
        let report = Program::new()
            .run(&[
                "simulate",
                "--arrivals",
                day,
                "--service",
                "exp:12s",
                "--preset",
                "latency",
                "--preset",
                "classic",
                "--boot",
                "30s",
                "--metric-delay",
                "60s",
                "--max",
                "40",
                "--target",
                "5min",
                "--protect",
                protect,
                "--format",
                "json",
            ])
            .json();
        let least = report["clairvoyant"]["instance_hours"].as_f64().unwrap();
        let [latency, classic] = [0, 1].map(|index| {
            let policy = &report["policies"][index];
            assert_eq!(
                (&policy["documents"], &policy["unfinished"]),
                (&36_963.into(), &0.into()),
                "{policy}"
            );
            (
                policy["latency_seconds"]["p95"].as_f64().unwrap(),
                policy["instance_hours"].as_f64().unwrap() / least,
            )
        });
        assert!(latency.0 <= 300.0 && latency.1 <= 1.3, "p95 {} s, {} of the least", latency.0, latency.1);
        assert!(latency.1 >= 1.0, "nobody does with less than who knows the future: {}", latency.1);
        assert!(classic.0 > 300.0, "the original misses the target: {} s", classic.0);
    }
}

#[test]
fn a_plan_that_never_shrinks_is_warned_of_and_names_run_no_formula() {
    let program = Program::new();
    program.write(
        "=plan.toml",
        "min = 1\nmax = 3\n[[alarm]]\nname = '=cmd'\nmetric = 'ApproximateNumberOfMessagesVisible'\n\
         comparison_operator = 'GreaterThanThreshold'\nthreshold = 50\n\
         [[simple_scaling]]\nname = 'grow'\nalarm = '=cmd'\nadjustment = 1\n",
    );
    let args = ["simulate", "--arrivals", "burst:130", "--service", "10s", "--format", "json"];
    let more = ["--plan", "=plan.toml", "--timeline", "t.csv", "--preset", "classic"];
    let ended = program.run(&[&args[..], &more].concat());
    let report = ended.json();
    assert_eq!(
        (&report["policies"][0]["rested"], &report["policies"][1]["rested"]),
        (&true.into(), &false.into())
    );
    assert!(ended.stderr.contains("=plan: a day after the last arrival"), "{}", ended.stderr);
    let timeline = std::fs::read_to_string(program.path("t.csv")).unwrap();
    assert!(timeline.contains("\n'=plan,") && timeline.contains(",'=cmd\n"), "{timeline}");
}
