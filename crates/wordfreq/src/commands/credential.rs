//! `wordfreq token` and `wordfreq key`: who may use the API and the S3 endpoint of `up`. Not here: what each scope allows
//! (`server::access`).

use anyhow::{Context as _, bail};
use wordfreq_pipeline::embedded::{AccessList, Credential, IfMissing, S3Key, Token};
use wordfreq_pipeline::{BackendError, Timestamp};

use super::results::shown_time;
use crate::backend;
use crate::cli::{CredentialArgs, CredentialCommand};
use crate::config::Config;
use crate::data_directory;
use crate::exit::Exit;
use crate::output::{self, Listing};
use crate::server::access::{TOKEN_PREFIX, digest, random_text};

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For the API.
    Token,
    /// For S3.
    Key,
}

/// An access key id of AWS has 20 characters.
const KEY_ID_CHARACTERS: usize = 20;

/// Makes, lists or revokes.
pub fn run(kind: Kind, args: &CredentialArgs, config: &Config) -> anyhow::Result<Exit> {
    let command = if kind == Kind::Token { "token" } else { "key" };
    backend::refuse_remote(config, command)?;
    match &args.command {
        CredentialCommand::Create { name, scope, .. } => {
            data_directory::refuse_foreign(config)?;
            let access = data_directory::open(config, IfMissing::Create)?.access;
            let credential =
                |id| Credential { id, name: name.clone(), scope: *scope, created_at: Timestamp::now() };
            let lines = match kind {
                Kind::Token => {
                    let text = format!("{TOKEN_PREFIX}{}", random_text(32)?);
                    let credential = credential(random_id(12)?);
                    access.add_token(&Token { credential, digest: digest(&text) })?;
                    format!("WORDFREQ_TOKEN={text}\n")
                }
                Kind::Key => {
                    let id = random_id(KEY_ID_CHARACTERS)?;
                    let secret = random_text(30)?;
                    let lines = format!("AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\n");
                    access.add_s3_key(&S3Key { credential: credential(id), secret })?;
                    lines
                }
            };
            output::to_stdout(|out| out.write_all(lines.as_bytes()))?;
        }
        CredentialCommand::List { format, .. } => {
            let access = data_directory::open(config, IfMissing::Refuse)?.access;
            let credentials = all(&access, kind)?;
            let what = if kind == Kind::Token { "tokens" } else { "keys" };
            let mut listing = Listing::new(what, ["id", "name", "scope", "created_at"]);
            for Credential { id, name, scope, created_at } in &credentials {
                listing.push([
                    id.as_str().into(),
                    name.as_str().into(),
                    scope.as_str().into(),
                    shown_time(*created_at),
                ]);
            }
            output::to_stdout(|out| output::write_listing(out, &listing, format.style()))?;
        }
        CredentialCommand::Revoke { ids, .. } => {
            let access = data_directory::open(config, IfMissing::Refuse)?.access;
            for id in ids {
                let existed = match kind {
                    Kind::Token => access.revoke_token(id)?,
                    Kind::Key => access.revoke_s3_key(id)?,
                };
                if !existed {
                    if let Some(named) = all(&access, kind)?.into_iter().find(|other| other.name == *id) {
                        bail!(
                            "{id} is the name of the {command} {}: `wordfreq {command} revoke` takes ids, as a name may come twice",
                            named.id
                        );
                    }
                    bail!("there is no {command} {id}: `wordfreq {command} list` names those there are");
                }
                output::remark(format!("revoked {id}"));
            }
        }
    }
    Ok(Exit::Done)
}

fn all(access: &AccessList, kind: Kind) -> Result<Vec<Credential>, BackendError> {
    Ok(match kind {
        Kind::Token => access.tokens()?.into_iter().map(|token| token.credential).collect(),
        Kind::Key => access.s3_keys()?.into_iter().map(|key| key.credential).collect(),
    })
}

/// An id as AWS's look: upper-case letters and digits.
fn random_id(characters: usize) -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = vec![0; characters];
    getrandom::fill(&mut random).context("there is no randomness")?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
