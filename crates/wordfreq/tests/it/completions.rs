//! `wordfreq completions`

use crate::program::Program;

#[test]
fn there_is_a_script_for_each_shell_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Program::new().run(&["completions", shell]).done();
        assert!(script.contains("dead-letters") && script.contains("exit-when-idle"), "{shell}");
    }
}

#[test]
fn a_broken_configuration_does_not_break_the_start_of_a_shell() {
    let program = Program::new().with_variable("WORDFREQ_THREADS", "none");
    assert!(!program.run(&["completions", "bash"]).done().is_empty());
}
