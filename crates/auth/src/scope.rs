//! What keys permit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a key permits. Records have the place in this list: it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Submit jobs.
    Submit,
    /// Follow, read and cancel jobs of the key's own tenant.
    ReadOwn,
    /// Look at and cancel the jobs of all tenants.
    Operate,
    /// Everything, the management of tenants and keys included, but for reading the audit trail.
    Admin,
    /// Read the audit trail.
    Audit,
}

/// A name for the scopes of people who do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Researcher,
    Operator,
    Administrator,
    Auditor,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Submit, Self::ReadOwn, Self::Operate, Self::Admin, Self::Audit];
    /// What a key permits where nobody says otherwise.
    pub const DEFAULT: [Self; 2] = [Self::Submit, Self::ReadOwn];

    /// Returns what it is called where it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::ReadOwn => "read-own",
            Self::Operate => "operate",
            Self::Admin => "admin",
            Self::Audit => "audit",
        }
    }
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Researcher, Self::Operator, Self::Administrator, Self::Auditor];

    /// Returns what it is called where it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Researcher => "researcher",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
        }
    }

    /// Returns what its keys permit.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Researcher => &Scope::DEFAULT,
            Self::Operator => &[Scope::ReadOwn, Scope::Operate],
            Self::Administrator => &[Scope::Admin],
            Self::Auditor => &[Scope::Audit],
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("a role is researcher, operator, administrator or auditor, not {name:?}"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == name);
        found.ok_or_else(|| format!("a scope is submit, read-own, operate, admin or audit, not {name:?}"))
    }
}
