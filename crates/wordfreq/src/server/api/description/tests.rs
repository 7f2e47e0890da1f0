//! Makes the description from the code: each operation describes what it answers when all is well; what any of them may
//! answer when it is not is added here. After a change of the API,
//! `UPDATE_API_DESCRIPTION=1 cargo test -p wordfreq --lib description` writes the file anew.

use std::collections::BTreeSet;
use std::path::Path;

use http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

use super::DESCRIPTION;
use crate::server::access::COOKIE_NAME;
use crate::server::api::{
    description, documents, fleet, health, queue, results, session, subscriptions, words,
};
use crate::server::problem::ProblemDetails;
use crate::server::{events, metrics};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "wordfreq",
        description = "Documents land in a bucket, each becomes a message, a fleet of workers counts their words, and \
                       totals are exact at every moment. Lists come in pages that go on by a cursor; what is there all \
                       the time is listed once. Where nobody has made a token, the API is open to its own machine.",
    ),
    paths(
        session::show, session::begin, session::end,
        documents::buckets, documents::list, documents::show, documents::content, documents::put, documents::delete,
        documents::recount, results::list, results::show,
        words::totals, words::list, words::zipf, words::word, words::documents,
        queue::status, queue::dead_letters, queue::redrive, queue::purge,
        fleet::status, fleet::set_bounds, fleet::activities, fleet::alarms, fleet::alarm_history, fleet::metrics,
        subscriptions::create, subscriptions::list, subscriptions::show, subscriptions::remove,
        subscriptions::ask_again, subscriptions::deliveries, subscriptions::ask, subscriptions::confirm,
        events::events, health::healthz, health::readyz, metrics::metrics, description::describe,
    ),
    components(schemas(ProblemDetails)),
    security(("token" = []), ("session" = [])),
    tags(
        (name = "session", description = "Signing a browser in"),
        (name = "documents", description = "Buckets, documents and their results"),
        (name = "words", description = "The words of all documents"),
        (name = "queue", description = "What waits, and what was given up"),
        (name = "fleet", description = "The workers"),
        (name = "subscriptions", description = "Who is told of what happens, by HTTP or mail"),
        (name = "events", description = "What happens, live"),
        (name = "health", description = "For those who watch over servers"),
    ),
    modifiers(&Names, &Problems, &Credentials),
)]
struct Description;

/// What may be answered to anything.
const ANY: [(&str, &str); 7] = [
    ("400", "What was asked makes no sense"),
    ("401", "Who asks is not known"),
    ("403", "Who asks may not"),
    ("405", "The path does not take this method"),
    ("429", "There are too many requests"),
    ("500", "The server failed at the request"),
    ("503", "The server cannot do it now"),
];

/// What is answered about a thing that is not there.
const NOT_FOUND: (&str, &str) = ("404", "What was asked for is not there");

/// What is answered to a body.
const OF_BODIES: [(&str, &str); 5] = [
    ("408", "The body came too slowly"),
    ("413", "The body is too long"),
    ("415", "The body is of another kind than it must be"),
    ("422", "The body is JSON, and not what it must be"),
    ("507", "The disk is full"),
];

/// Names each operation by its method and its path, such as `post_queue_redrive`: the names of functions come twice.
struct Names;

impl Modify for Names {
    fn modify(&self, description: &mut OpenApi) {
        for (path, item) in &mut description.paths.paths {
            let words: Vec<_> = path.strip_prefix("/api/v1").unwrap_or(path).split(['/', '-', '.']).collect();
            let name = words.join("_").replace(['{', '}'], "");
            let operations = [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in operations {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("{method}{name}"));
                }
            }
        }
    }
}

struct Problems;

impl Modify for Problems {
    fn modify(&self, description: &mut OpenApi) {
        for item in description.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete] {
                let Some(operation) = operation else { continue };
                for (status, response) in &mut operation.responses.responses {
                    let RefOr::T(response) = response else { continue };
                    if response.description.is_empty() {
                        response.description = reason(status).to_owned();
                    }
                }
                let of_body = if operation.request_body.is_some() { &OF_BODIES[..] } else { &OF_BODIES[3..] };
                for (status, what) in ANY.iter().chain([&NOT_FOUND]).chain(of_body) {
                    add(operation, status, what);
                }
            }
        }
    }
}

/// What a status says by itself.
fn reason(status: &str) -> &'static str {
    status.parse().ok().and_then(|status: StatusCode| status.canonical_reason()).unwrap_or("An answer")
}

fn add(operation: &mut Operation, status: &str, what: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
        let schema = Ref::from_schema_name("ProblemDetails");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        RefOr::T(
            ResponseBuilder::new().description(what).content("application/problem+json", content).build(),
        )
    });
}

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
        components.add_security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME))),
        );
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test is no setting of the product")]
fn the_description_is_that_of_the_code() {
    let made = Description::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_API_DESCRIPTION").is_some_and(|value| value == "1") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/api/openapi.json");
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert!(
        made == DESCRIPTION,
        "openapi.json is not what the code describes: \
         run UPDATE_API_DESCRIPTION=1 cargo test -p wordfreq --lib description"
    );
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let description = Description::openapi();
    let items = description.paths.paths.values();
    let operations = items.flat_map(|item| [&item.get, &item.put, &item.post, &item.delete]).flatten();
    let names: Vec<_> = operations.map(|operation| operation.operation_id.clone().unwrap()).collect();
    let different: BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    assert!(different.contains(&"post_queue_redrive".to_owned()), "{names:?}");
}
