use rzeo_core::wire::Codec;
use rzeo_core::{Tid, UnixTime};

use super::*;
use crate::bindings::Bindings;
use crate::wire;

const BEGINNING: &str = r#"C1 opens
set codec "pickle"
S1 hello
C1 hello
"#;

/// Plays a script to a server that sends each of `answers` before the replay waits for the script's line of
/// this number. Returns what the client sends, and the differences.
fn play(script: &str, answers: &[(usize, &str)]) -> (Vec<Bytes>, Vec<String>) {
    let lines: Vec<Line> =
        [BEGINNING, script].concat().lines().map(|line| Line::read(line).unwrap()).collect();
    let mut assigned = AssignedIds::default();
    lines.iter().for_each(|line| assigned.handle_line(line));
    let mut replay = Replay::new(assigned, After::Stop);
    let (mut sent, mut differences) = (Vec::new(), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        replay.handle_line(index + 1, line).unwrap();
        if index == 2 {
            replay.handle_input(1, Input::Bytes(&wire::frame(b"Z5")));
        }
        for (_, answer) in answers.iter().filter(|(at, _)| at + 4 == index + 1) {
            replay.handle_input(1, Input::Bytes(&frame(answer)));
        }
        replay.handle_timeout();
        while let Some(command) = replay.poll_output() {
            if let Command::Send(1, bytes) = command {
                sent.push(bytes);
            }
        }
        while let Some(difference) = replay.take_difference() {
            differences.push(difference.to_string());
        }
    }
    (sent, differences)
}

fn frame(line: &str) -> Vec<u8> {
    let Line::Peer { action, .. } = Line::read(line).unwrap() else { panic!("{line}") };
    let value = Bindings::default().resolve(&action.envelope().unwrap()).unwrap();
    wire::frame(&Codec::Pickle.write_value(&value).unwrap())
}

const TWO_LOADS: &str = "C1 1 loadBefore 0x0000000000000001 0x0000000000000009
C1 2 loadBefore 0x0000000000000002 0x0000000000000009
S1 1 reply None
S1 2 reply 7
";

#[test]
fn answers_to_loads_may_change_places() {
    let swapped = [(3, "S1 2 reply 7"), (3, "S1 1 reply None")];
    assert_eq!(play(TWO_LOADS, &swapped).1, [""; 0]);
}

#[test]
fn a_notification_may_not_change_places_with_an_answer() {
    let script = TWO_LOADS.replace("S1 1", "S1 - info {}\nS1 1");
    let early = [(3, "S1 2 reply 7"), (3, "S1 - info {}"), (3, "S1 1 reply None")];
    let (_, differences) = play(&script, &early);
    let expected = "line 7:
  C1 hello
  C1 1 loadBefore 0x0000000000000001 0x0000000000000009
  C1 2 loadBefore 0x0000000000000002 0x0000000000000009
- S1 - info {}
+ S1 2 reply 7";
    assert_eq!(differences[0], expected);
}

#[test]
fn a_missing_message_is_reported() {
    let (_, differences) = play(TWO_LOADS, &[(3, "S1 1 reply None")]);
    assert_eq!(differences.len(), 1);
    assert!(differences[0].ends_with("\n- S1 2 reply 7\n+ (nothing)"), "{}", differences[0]);
}

/// Records refer to the oids of this run, and a pack sees the same commits.
#[test]
fn assigned_ids_are_used_from_then_on() {
    let script = r#"C1 1 new_oids 1
S1 1 reply [0x0000000000000011]
C1 - storea 0x0000000000000011 0x0000000000000000 b"xxxC\x08\x00\x00\x00\x00\x00\x00\x00\x11" 5
C1 2 tpc_finish 5
S1 2 reply 0x040d285380b64d88
C1 3 pack 1795235731.0 1
S1 3 reply None
C1 4 loadBefore 0x0000000000000011 0x040d285380b64d89
"#;
    let answers = [
        (2, "S1 1 reply [0x0000000000000022]"),
        (5, "S1 2 reply 0x040d285380c64d88"),
        (7, "S1 3 reply None"),
    ];
    let (sent, differences) = play(script, &answers);
    assert_eq!(differences, [""; 0]);
    let store = r#"C1 - storea 0x0000000000000022 0x0000000000000000 b"xxxC\x08\x00\x00\x00\x00\x00\x00\x00\x22" 5"#;
    assert_eq!(sent[2], frame(store));
    let pack = Codec::Pickle.read_value(&sent[4].slice(4..), &ReadLimits::default()).unwrap();
    let Value::Tuple(parts) = pack else { panic!("{pack:?}") };
    let Value::Tuple(args) = &parts[3] else { panic!("{parts:?}") };
    let Value::Float(time) = args[0] else { panic!("{args:?}") };
    let commit = Tid(0x040d_2853_80c6_4d88);
    assert!(Tid::from_unix(UnixTime(time)) >= commit && time < commit.to_unix().0 + 1e-4);
    let load = "C1 4 loadBefore 0x0000000000000022 0x040d285380c64d89";
    assert_eq!(sent[5], frame(load));
}

#[test]
fn lines_that_a_socket_cannot_play_are_refused() {
    let mut replay = Replay::new(AssignedIds::default(), After::Stop);
    for (line, problem) in [
        ("do client close", "\"do client close\" works only with a server in memory"),
        ("C1 hello", "connection 1 is not open; a line C1 opens must come first"),
        ("S2 hello", "connection 2 is not open; a line C2 opens must come first"),
    ] {
        let refused = replay.handle_line(1, &Line::read(line).unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), problem);
    }
}
