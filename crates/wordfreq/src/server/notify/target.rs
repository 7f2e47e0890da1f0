//! Where a notification may go: what a target's name must look like, and which addresses it may turn out to have. A
//! name is judged when it is given, for a clear answer; its addresses are judged where they are dialled (`webhook`), as
//! what a name resolves to is anyone's to change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;
use lettre::Address;

/// The longest target.
const MAX_BYTES: usize = 2048;

/// Where a notification goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By HTTP to this URL.
    Webhook(Uri),
    /// By mail to this address.
    Mail(Address),
}

/// Hosts, with or without a port, that are dialled whatever their address, and without TLS too: the setting
/// `notify.allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(Vec<(String, Option<u16>)>);

impl Allowed {
    /// Reads a list of `HOST` and `HOST:PORT`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// What the list must look like.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let entry = |text: &str| {
            let mend = || {
                format!(
                    "must be host names, each with a port or without, such as hooks.example:8443, and {text:?} is none"
                )
            };
            let uri: Uri = format!("http://{text}/").parse().map_err(|_| mend())?;
            let authority = uri.authority().ok_or_else(mend)?;
            let is_plain =
                authority.as_str() == text && !text.contains(['@', '*']) && !authority.host().is_empty();
            let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            if !is_plain || (has_port && authority.port_u16().is_none_or(|port| port == 0)) {
                return Err(mend());
            }
            Ok((canonical(authority.host()), authority.port_u16()))
        };
        entries.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this host may be dialled at this port whatever its address.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = canonical(host);
        self.0.iter().any(|(name, at)| *name == host && at.is_none_or(|at| at == port))
    }

    /// The entries as they would be written.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(host, port)| port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    }
}

/// A host's name in one spelling: lower case, without the dot of the root.
fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The port that a URL names or means.
pub(super) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 })
}

/// A URL's host, an IPv6 address without its brackets, as an address if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

impl Target {
    /// Reads a target as it is given by whoever subscribes.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn parse(text: &str, allowed: &Allowed) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("the target has {} bytes: at most {MAX_BYTES} are taken", text.len()));
        }
        if let Some(address) = text.strip_prefix("mailto:") {
            let parsed: Option<Address> = address.parse().ok();
            let is_plain = address.is_ascii() && !address.contains(['"', '%', '?', '[', ' ']);
            return parsed.filter(|_| is_plain).map(Self::Mail).ok_or_else(|| {
                format!(
                    "the target {:?} is no plain mail address: write mailto:NAME@DOMAIN, without a subject or other parts",
                    shown(text)
                )
            });
        }
        let uri: Uri = text
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()))
            .ok_or_else(|| {
                format!(
                    "the target {:?} is no URL: write https://HOST/PATH or mailto:NAME@DOMAIN",
                    shown(text)
                )
            })?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "the target has user information: put a secret into its path, or check the signature".into(),
            );
        }
        if text.contains('#') {
            return Err(
                "the target has a fragment, which is never sent: leave out `#` and what follows".into()
            );
        }
        judge_name(&uri, allowed)?;
        Ok(Self::Webhook(uri))
    }
}

/// No more of a text than a message should repeat.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Whether scheme, host and port may be dialled at all, whatever address the host may have.
pub(super) fn judge_name(uri: &Uri, allowed: &Allowed) -> Result<(), String> {
    let (host, port) = (uri.host().unwrap_or_default(), port(uri));
    let is_http = uri.scheme() == Some(&Scheme::HTTP);
    if !is_http && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err("the target must begin with https:// or mailto:".into());
    }
    if allowed.covers(host, port) {
        return Ok(());
    }
    let mend = format!("if that is meant, name {host} in the setting notify.allow");
    if is_http {
        return Err(format!("the target is not https: {mend}"));
    }
    // A server that is told to speak to ports of old protocols can be made to talk with them.
    if port != 443 && port < 1024 {
        return Err(format!("port {port} is not 443 and below 1024: {mend}"));
    }
    let name = canonical(host);
    if name == "localhost"
        || name.ends_with(".localhost")
        || literal(host).is_some_and(|address| !is_public(address))
    {
        return Err(format!("{host} is not a public address: {mend}"));
    }
    Ok(())
}

/// Whether an address is one of the public Internet's: not of this machine, a private network, a link, a shared or a
/// documented range, and not one that hides another in itself. By IANA's special-purpose registries.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [([u8; 4], u32); 14] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        // Multicast, reserved and broadcast.
        ([224, 0, 0, 0], 3),
    ];
    let bits = address.to_bits();
    !SPECIAL.iter().any(|(network, length)| {
        (bits ^ u32::from_be_bytes(*network)).checked_shr(32 - length).unwrap_or(0) == 0
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out: loopback, mapped and translated IPv4, unique local, link-local, site-local and multicast
    // addresses are all outside.
    const SPECIAL: [(u128, u32); 4] = [
        // Protocol assignments, Teredo among them.
        (0x2001_0000 << 96, 23),
        // Documentation.
        (0x2001_0db8 << 96, 32),
        // 6to4.
        (0x2002_0000 << 96, 16),
        // Documentation.
        (0x3fff_0000 << 96, 20),
    ];
    let bits = address.to_bits();
    bits >> 125 == 1 && !SPECIAL.iter().any(|(network, length)| (bits ^ network) >> (128 - length) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2003::1",
            "2001:200::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn a_target_is_a_plain_public_url_or_mail_address() {
        let none = Allowed::default();
        for good in [
            "https://hooks.example.org/a?b=c",
            "https://hooks.example.org:8443",
            "https://1.1.1.1/x",
            "mailto:ada@example.org",
        ] {
            assert!(Target::parse(good, &none).is_ok(), "{good}: {:?}", Target::parse(good, &none));
        }
        let long = format!("https://example.org/{}", "a".repeat(MAX_BYTES));
        for (bad, says) in [
            ("", "no URL"),
            ("/hook", "no URL"),
            ("example.org", "no URL"),
            ("https://", "no URL"),
            ("https:///path", "no URL"),
            ("ftp://example.org/", "must begin with https://"),
            ("file:///etc/passwd", "no URL"),
            ("http://example.org/", "not https"),
            ("https://user:secret@example.org/", "user information"),
            ("https://example.org@127.0.0.1/", "user information"),
            ("https://example.org/#x", "fragment"),
            ("https://example.org:22/", "port 22"),
            ("https://example.org:25/", "port 25"),
            ("https://localhost/", "not a public address"),
            ("https://a.LOCALHOST./", "not a public address"),
            ("https://127.0.0.1/", "not a public address"),
            ("https://169.254.169.254/latest/meta-data", "not a public address"),
            ("https://[::1]/", "not a public address"),
            ("https://[::ffff:10.0.0.1]/", "not a public address"),
            ("https://exa mple.org/", "no URL"),
            ("https://example.org/\r\nX: y", "no URL"),
            ("mailto:", "no plain mail address"),
            ("mailto:ada", "no plain mail address"),
            ("mailto:ada@example.org?bcc=eve@example.org", "no plain mail address"),
            ("mailto:ada@example.org,eve@example.org", "no plain mail address"),
            ("mailto:ada@example.org\r\nBcc: eve@example.org", "no plain mail address"),
            ("mailto:\"a b\"@example.org", "no plain mail address"),
            (&long, "at most 2048"),
        ] {
            let error = Target::parse(bad, &none).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_by_name_and_port() {
        let allowed = Allowed::parse(["127.0.0.1:9000", "Hooks.Internal", "[::1]"]).unwrap();
        for good in [
            "http://127.0.0.1:9000/x",
            "https://127.0.0.1:9000/x",
            "http://hooks.internal/",
            "http://hooks.INTERNAL.:22/",
            "http://[::1]:1/",
        ] {
            assert!(Target::parse(good, &allowed).is_ok(), "{good}: {:?}", Target::parse(good, &allowed));
        }
        for bad in
            ["http://127.0.0.1:9001/", "http://127.0.0.1/", "http://a.hooks.internal/", "http://127.1:9000/"]
        {
            assert!(Target::parse(bad, &allowed).is_err(), "{bad}");
        }
        for bad in ["", "a b", "http://a", "a/b", "a@b", "a:0", "a:x", "a:99999", "*.example.org", "a:"] {
            assert!(Allowed::parse([bad]).is_err(), "{bad}");
        }
        let written: Vec<_> = allowed.entries().collect();
        assert_eq!(written, ["127.0.0.1:9000", "hooks.internal", "[::1]"]);
    }
}
