//! What a word is, by name and options, and the fingerprint every result carries.
//!
//! The rules themselves are in `tokenize` (boundaries) and `normalise` (case and composition).

use std::fmt;
use std::str::FromStr;

use crate::word_break_table::UNICODE_VERSION;

/// Which of the three built-in rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ProfileName {
    /// Word boundaries of Unicode Standard Annex #29, kept if they hold at least one alphanumeric character.
    #[default]
    Unicode,
    /// Runs of anything but Unicode White_Space.
    Whitespace,
    /// The Go sample's rule, bug for bug.
    GoSample,
}

impl ProfileName {
    /// Every built-in rule, the default first.
    pub const ALL: [Self; 3] = [Self::Unicode, Self::Whitespace, Self::GoSample];

    /// The name as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unicode => "unicode",
            Self::Whitespace => "whitespace",
            Self::GoSample => "go-sample",
        }
    }

    /// The rule that a [`fingerprint`](Profile::fingerprint) begins with.
    pub fn of_fingerprint(fingerprint: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|name| fingerprint.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with("-v")))
    }

    /// Raised whenever the same bytes may count differently under the same name, options and Unicode version.
    const fn version(self) -> u32 {
        match self {
            Self::Unicode | Self::Whitespace | Self::GoSample => 1,
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is none of the built-in profiles; it holds the name as given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile `{0}`: use one of unicode, whitespace, go-sample")]
pub struct UnknownProfile(pub String);

impl FromStr for ProfileName {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

/// A complete rule for what a word is: a named rule plus options.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Profile {
    /// The named rule.
    pub name: ProfileName,
    /// The fewest characters (Unicode scalar values) a word may have as it is counted, that is after
    /// normalising, and after trimming in `go-sample`. 0 and 1 both mean no minimum.
    pub min_length: u32,
}

impl Profile {
    /// The named rule without options.
    pub fn new(name: ProfileName) -> Self {
        Self { name, min_length: 0 }
    }

    /// Names everything the counts depend on apart from the bytes: rule, version of the algorithm, version of
    /// Unicode, options. Two profiles with the same fingerprint count the same bytes the same way.
    ///
    /// ```
    /// # use wordfreq_core::{Profile, ProfileName};
    /// let mut profile = Profile::new(ProfileName::Unicode);
    /// assert_eq!(profile.fingerprint(), "unicode-v1-ucd17.0.0");
    /// profile.min_length = 3;
    /// assert_eq!(profile.fingerprint(), "unicode-v1-ucd17.0.0-min3");
    /// ```
    pub fn fingerprint(&self) -> String {
        let (major, minor, update) = UNICODE_VERSION;
        let mut fingerprint = format!("{}-v{}-ucd{major}.{minor}.{update}", self.name, self.name.version());
        if self.min_length > 1 {
            fingerprint.push_str(&format!("-min{}", self.min_length));
        }
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused_by_name() {
        for name in ProfileName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert_eq!(ProfileName::default(), ProfileName::Unicode);
        for wrong in ["", "Unicode", "go_sample", "unicode "] {
            let error = wrong.parse::<ProfileName>().unwrap_err();
            assert_eq!(error, UnknownProfile(wrong.to_owned()));
            for name in ProfileName::ALL {
                assert!(error.to_string().contains(name.as_str()), "{error}");
            }
        }
    }

    #[test]
    fn fingerprints_name_rule_versions_and_options() {
        let of = |name, min_length| Profile { name, min_length }.fingerprint();
        assert_eq!(of(ProfileName::Unicode, 0), "unicode-v1-ucd17.0.0");
        assert_eq!(of(ProfileName::Unicode, 1), "unicode-v1-ucd17.0.0");
        assert_eq!(of(ProfileName::Whitespace, 2), "whitespace-v1-ucd17.0.0-min2");
        assert_eq!(of(ProfileName::GoSample, 0), "go-sample-v1-ucd17.0.0");
        for name in ProfileName::ALL {
            assert_eq!(ProfileName::of_fingerprint(&of(name, 3)), Some(name));
        }
        assert_eq!(ProfileName::of_fingerprint("unicode"), None);
    }

    /// The fingerprint names one version of Unicode, but four tables have a say in what is counted.
    #[test]
    fn every_table_is_of_the_version_in_the_fingerprint() {
        let widened =
            |(major, minor, update): (u8, u8, u8)| (u64::from(major), u64::from(minor), u64::from(update));
        assert_eq!(UNICODE_VERSION, (17, 0, 0));
        assert_eq!(char::UNICODE_VERSION, UNICODE_VERSION);
        assert_eq!(unicode_normalization::UNICODE_VERSION, UNICODE_VERSION);
        assert_eq!(unicode_segmentation::UNICODE_VERSION, widened(UNICODE_VERSION));
    }
}
