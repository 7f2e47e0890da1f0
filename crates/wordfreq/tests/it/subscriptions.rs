//! Subscriptions over the API: who may have them, what is answered, and that nothing is told that should not be. What is
//! sent, and that none of it is lost, is tested with the faults (`tests/faults/notify.rs`).

use std::io::Read as _;

use serde_json::{Value, json};

use crate::program::Program;
use crate::server::Serving;

/// Asks for something with a JSON body or none; answers status and body.
fn ask(serving: &Serving, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
    let text = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_some() { "content-type: application/json\r\n" } else { "" };
    let request = format!(
        "{method} /api/v1/subscriptions{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer \
         {token}\r\n{kind}content-length: {}\r\n\r\n{text}",
        text.len()
    );
    let mut answer = String::new();
    serving.send(request.as_bytes()).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn token(program: &Program, scope: &str) -> String {
    let made = program.run(&["token", "create", "--name", scope, "--scope", scope]).done();
    made.trim().strip_prefix("WORDFREQ_TOKEN=").unwrap().to_owned()
}

#[test]
fn an_administrator_makes_lists_and_removes_subscriptions_and_nobody_else() {
    // A target that is let in and never there: nothing is listening on port 9 of this machine.
    let program = Program::new().with_variable("WORDFREQ_NOTIFY_ALLOW", "127.0.0.1");
    let (admin, writer) = (token(&program, "admin"), token(&program, "write"));
    let serving = Serving::start(&program, &[]);
    let wish = json!({ "target": "http://127.0.0.1:9/hook", "events": ["batch.idle", "document.failed"], "bucket": "lab-2" });
    for method in ["GET", "POST"] {
        let body = (method == "POST").then_some(&wish);
        assert_eq!(ask(&serving, method, "", &writer, body).0, 403);
        assert_eq!(ask(&serving, method, "", "wf_none", body).0, 401);
    }
    let (status, made) = ask(&serving, "POST", "", &admin, Some(&wish));
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["state"], &made["bucket"]), (&json!("pending"), &json!("lab-2")));
    assert_eq!(made["events"], json!(["document.failed", "batch.idle"]));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = made["id"].as_str().unwrap();

    let (status, shown) = ask(&serving, "GET", &format!("/{id}"), &admin, None);
    assert_eq!((status, &shown["secret"]), (200, &Value::Null), "told once");
    let second = ask(&serving, "POST", "", &admin, Some(&wish)).1;
    let (_, first_page) = ask(&serving, "GET", "?limit=1", &admin, None);
    assert_eq!(first_page["items"][0]["id"], made["id"]);
    let cursor = first_page["next_cursor"].as_str().unwrap();
    let (_, last_page) = ask(&serving, "GET", &format!("?limit=1&cursor={cursor}"), &admin, None);
    assert_eq!((&last_page["items"][0]["id"], &last_page["next_cursor"]), (&second["id"], &Value::Null));

    let (status, asked) = ask(&serving, "GET", &format!("/{id}/deliveries"), &admin, None);
    assert_eq!((status, &asked["items"][0]["event"]), (200, &json!("subscription.confirm")));
    let (status, refused) = ask(&serving, "POST", &format!("/{id}/resend-confirmation"), &admin, None);
    assert_eq!(status, 429, "{refused}");

    assert_eq!(ask(&serving, "DELETE", &format!("/{id}"), &writer, None).0, 403);
    assert_eq!(ask(&serving, "DELETE", &format!("/{id}"), &admin, None).0, 204);
    for (method, path) in [
        ("DELETE", format!("/{id}")),
        ("GET", format!("/{id}")),
        ("GET", format!("/{id}/deliveries")),
        ("POST", format!("/{id}/resend-confirmation")),
        ("GET", "/%ff".to_owned()),
        ("POST", "/confirm?token=x".to_owned()),
        ("GET", "/confirm?token=x.y".to_owned()),
    ] {
        let (status, problem) = ask(&serving, method, &path, &admin, None);
        assert_eq!(
            (status, &problem["type"]),
            (404, &json!("urn:wordfreq:error:not-found")),
            "{method} {path}"
        );
    }
    let log = serving.stop();
    assert!(
        !log.contains("whsec_") && !log.contains("/hook"),
        "neither a secret nor an address that may hold one: {log}"
    );
}

#[test]
fn what_cannot_be_subscribed_is_refused_with_the_mend() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    for (target, events, says) in [
        ("http://example.org/", json!(["batch.idle"]), "notify.allow"),
        ("https://127.0.0.1/", json!(["batch.idle"]), "notify.allow"),
        ("https://169.254.169.254/", json!(["batch.idle"]), "notify.allow"),
        ("mailto:ada@example.org", json!(["batch.idle"]), "smtp.host"),
        ("https://example.org/", json!(["everything"]), "there is no event"),
        ("https://example.org/", json!(["subscription.confirm"]), "at least one of the events"),
        ("https://example.org/", json!([]), "at least one of the events"),
    ] {
        let wish = json!({ "target": target, "events": events });
        let (status, problem) = ask(&serving, "POST", "", "", Some(&wish));
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 400 && detail.contains(says), "{target} {events}: {problem}");
    }
    let wish = json!({ "target": "https://example.org/", "events": ["batch.idle"], "bucket": "No Bucket" });
    assert_eq!(ask(&serving, "POST", "", "", Some(&wish)).0, 400);
    assert_eq!(ask(&serving, "POST", "", "", Some(&json!({ "target": 7 }))).0, 422);
    assert_eq!(ask(&serving, "GET", "", "", None).1["items"], json!([]));
}

#[test]
fn a_mail_needs_a_link_that_others_can_follow() {
    let program = || {
        Program::new()
            .with_variable("WORDFREQ_SMTP_HOST", "mail.example.org")
            .with_variable("WORDFREQ_SMTP_FROM", "wordfreq@example.org")
            .with_variable("WORDFREQ_SERVER_LISTEN", "0.0.0.0:0")
    };
    let nowhere = program();
    nowhere.run(&["token", "create", "--name", "one", "--scope", "admin"]).done();
    let add = ["subscriptions", "add", "mailto:ada@example.org", "--event", "batch.idle"];
    let error = nowhere.run(&add).ended(1);
    assert!(error.contains("server.public_url"), "{error}");
    // A webhook answers, and needs none.
    let webhook = ["subscriptions", "add", "https://example.org/", "--event", "batch.idle"];
    assert_eq!(nowhere.run(&webhook).code, 0);
    let known = program().with_variable("WORDFREQ_SERVER_PUBLIC_URL", "https://words.example.org");
    known.run(&["token", "create", "--name", "one", "--scope", "admin"]).done();
    assert_eq!(known.run(&add).code, 0);
}

#[test]
fn a_password_is_told_by_file_or_environment_and_never_shown() {
    let mail = || {
        Program::new()
            .with_variable("WORDFREQ_SMTP_HOST", "mail.example.org")
            .with_variable("WORDFREQ_SMTP_FROM", "wordfreq@example.org")
    };
    let signed_in =
        mail().with_variable("WORDFREQ_SMTP_USER", "ada").with_variable("WORDFREQ_SMTP_PASSWORD", "hunter2");
    let shown = signed_in.run(&["config"]).done();
    assert!(shown.contains("smtp.password") && !shown.contains("hunter2"), "{shown}");
    let refused = |program: Program| program.run(&["config"]).ended(2);
    let in_a_file = mail();
    in_a_file.write("wordfreq.toml", "[smtp]\npassword = \"hunter2\"\n");
    let error = refused(in_a_file);
    assert!(error.contains("smtp.password_file") && !error.contains("hunter2"), "{error}");
    let plain = mail().with_variable("WORDFREQ_SMTP_TLS", "none");
    let error = refused(plain);
    assert!(error.contains("for everyone on the way to read") && error.contains("notify.allow"), "{error}");
    mail()
        .with_variable("WORDFREQ_SMTP_TLS", "none")
        .with_variable("WORDFREQ_NOTIFY_ALLOW", "mail.example.org:25")
        .run(&["config"])
        .done();
    for (name, value, says) in [
        ("WORDFREQ_SMTP_HOST", "mail.example.org", "needs `smtp.from`"),
        ("WORDFREQ_SMTP_FROM", "wordfreq@example.org", "needs `smtp.host`"),
        ("WORDFREQ_SMTP_PASSWORD", "hunter2", "needs `smtp.user`"),
        ("WORDFREQ_SMTP_USER", "ada", "needs `smtp.password_file`"),
        ("WORDFREQ_SMTP_FROM", "a\nb@example.org", "must be a mail address"),
        ("WORDFREQ_SMTP_HOST", "mail.example.org:25", "smtp.port"),
        ("WORDFREQ_SMTP_TLS", "ssl", "must be starttls, tls or none"),
        ("WORDFREQ_SMTP_PORT", "0", "from 1 to 65535"),
        ("WORDFREQ_NOTIFY_ALLOW", "https://a/", "must be host names"),
        ("WORDFREQ_SERVER_PUBLIC_URL", "words.example.org", "must be how others reach this server"),
    ] {
        let error = refused(Program::new().with_variable(name, value));
        assert!(
            error.contains(name) && error.contains(says) && !error.contains("hunter2"),
            "{name}: {error}"
        );
    }
    let missing = mail()
        .with_variable("WORDFREQ_SMTP_USER", "ada")
        .with_variable("WORDFREQ_SMTP_PASSWORD_FILE", "none");
    let error = missing.run(&["up", "--exit-when-idle"]).ended(1);
    assert!(error.contains("smtp.password_file"), "{error}");
}
