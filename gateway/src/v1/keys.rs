//! Keys: made, listed and revoked. All of it takes an administrator's key; users of a provider have their own keys, which
//! permit no more than they may and end after a while.

use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, KeyRecord, Keys, Principal, Quota, Role, Scope, Secret, Tenant, Terms};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use ids::{Class, KeyId, TenantId};
use program::Batching;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tenants::given;
use super::{quota, read, tenants, time};
use crate::authenticate::{Administrator, Keyholder};
use crate::trail::acted;
use crate::{Error, Gateway, unix_seconds};

/// The longest that a key with an end may be valid.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How many seconds a job may go on whose client is gone, where it is not to go on to its end.
const GRACE: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;
/// Characters of a note, and of a project's name.
const LINE: usize = 200;

const DAY: u64 = 24 * 3600;

/// Keys that one user may have made for themselves and not revoked.
const OWN: usize = 20;

/// How long a key that is rotated is valid beside its successor, where nobody says.
const OVERLAP: &str = "24h";

/// All keys that were asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Keys")]
pub struct List {
    keys: Vec<Shown>,
}

/// What is known of a key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct Shown {
    /// Its public part.
    id: String,
    tenant: String,
    scopes: Vec<String>,
    batching: String,
    created_at: String,
    /// Null for a key without end.
    expires_at: Option<String>,
    note: Option<String>,
    project: Option<String>,
    /// The models that it may use; null for those of its tenant.
    models: Option<Vec<String>>,
    /// How urgent its jobs are, where that is less than its tenant's are: normal or low. Null for as its tenant's.
    class: Option<&'static str>,
    /// How long a job goes on whose blocking client is gone, as `30s`. Null for to its end.
    cancel_when_gone: Option<String>,
    quota: Quota,
    /// The user who made it for themselves; null for one that an administrator made.
    owner: Option<String>,
}

/// A key that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MadeKey")]
pub struct Made {
    /// Its text, which is nowhere else.
    key: String,
    #[serde(flatten)]
    shown: Shown,
    /// The key that it follows, where it was made for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Shown>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "NewKey")]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Default: the caller's own.
    #[schemars(with = "Option<String>")]
    pub tenant: Option<TenantId>,
    /// Default: submit and read-own; of a user who makes their own, all that they have.
    pub scopes: Option<Vec<String>>,
    /// A name for scopes, in their place.
    pub role: Option<String>,
    /// A time as `30d`. Default: without end; of a user who makes their own, as long as such a key may live.
    pub expires_in: Option<String>,
    /// What it is for.
    pub note: Option<String>,
    /// What the ledger shows its jobs under.
    pub project: Option<String>,
    /// Default: those of its tenant.
    pub models: Option<Vec<String>>,
    /// Default: no bounds but its tenant's.
    pub quota: Option<Quota>,
    /// Default: shared.
    pub batching: Option<String>,
    /// high, normal or low, and not more urgent than its tenant. Default: as its tenant.
    pub class: Option<String>,
    /// How long a job goes on whose blocking client is gone, as `30s`. Default: to its end.
    pub cancel_when_gone: Option<String>,
}

/// What is to be another. What is left out stays, and null is none.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "KeyChange")]
#[serde(deny_unknown_fields)]
pub struct Change {
    scopes: Option<Vec<String>>,
    role: Option<String>,
    #[serde(default, deserialize_with = "given")]
    note: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    project: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    models: Option<Option<Vec<String>>>,
    /// high, normal or low, and not more urgent than its tenant. It counts for jobs that are accepted from then on.
    #[serde(default, deserialize_with = "given")]
    class: Option<Option<String>>,
    /// How long a job goes on whose blocking client is gone, as `30s`.
    #[serde(default, deserialize_with = "given")]
    cancel_when_gone: Option<Option<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Rotation")]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How long both are valid, as `24h`. Default: 24 hours.
    overlap: Option<String>,
}

/// Which keys are wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[schemars(with = "Option<String>")]
    tenant: Option<TenantId>,
}

/// `GET /v1/keys?tenant=…`: what is known of keys, and nothing of what they are made of. A user sees their own.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Keyholder(principal): Keyholder,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<List>, Error> {
    let Query(wanted) = wanted.map_err(|error| Error::Malformed(error.body_text()))?;
    let mut keys = all(&gateway, wanted.tenant.as_ref()).await?;
    keys.retain(|key| principal.may(Scope::Admin) || owns(&principal, key));
    Ok(Json(List { keys: keys.iter().map(shown).collect() }))
}

/// `POST /v1/keys`: makes a key of a tenant that there is. Its text is in this answer and nowhere else. A user makes one for
/// themselves.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Keyholder(principal): Keyholder,
    body: Body,
) -> Result<Response, Error> {
    let (key, record, what) = make(&gateway, &principal, read(&gateway, body).await?).await?;
    let answer = Made { key: key.reveal().to_owned(), shown: shown(&record), replaces: None };
    Ok(acted(what, (StatusCode::CREATED, Json(answer))))
}

/// `PATCH /v1/keys/{key}` with `scopes` or `role`, `note`, `project`, `models`, `class`, `cancel_when_gone`.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let change: Change = read(&gateway, body).await?;
    let scopes = scopes(change.scopes, change.role)?;
    change.note.iter().flatten().try_for_each(|text| line("note", text))?;
    change.project.iter().flatten().try_for_each(|text| line("project", text))?;
    change.models.iter().flatten().try_for_each(|models| Terms::check(models)).map_err(Error::Unfit)?;
    if let Some(scopes) = scopes.as_ref().filter(|_| id == principal.key.as_str())
        && !scopes.contains(&Scope::Admin)
    {
        let refused = "the key that asks is this one, and could not undo it; ask with another";
        return Err(Error::Conflict(format!("the key {id} keeps the scope admin: {refused}")));
    }
    let class = change.class.map(|class| class.as_deref().map(tenants::class).transpose()).transpose()?;
    if let Some(Some(class)) = class {
        let tenant = find(&gateway, &id).await?.tenant;
        no_more_urgent(class, &tenants::find(&gateway, tenant.as_str()).await?)?;
    }
    let grace = change.cancel_when_gone.map(|text| text.as_deref().map(grace).transpose()).transpose()?;
    let mut done = Vec::new();
    if let Some(scopes) = &scopes {
        done.push(format!("permits {}", names(scopes)));
    }
    if let Some(models) = &change.models {
        done.push(format!("may use {}", tenants::models_in_words(models.as_deref())));
    }
    if let Some(class) = class {
        done.push(format!("has the class {}", class.map_or("of its tenant", Class::name)));
    }
    if let Some(grace) = grace {
        let grace = grace.map_or("when they end".into(), |seconds| format!("after {}", duration(seconds)));
        done.push(format!("lets jobs whose client is gone end {grace}"));
    }
    if let Some(project) = &change.project {
        done.push(format!("is of the project {}", project.as_deref().unwrap_or("none")));
    }
    if let Some(note) = &change.note {
        done.push(format!("has the note {:?}", note.as_deref().unwrap_or_default()));
    }
    if done.is_empty() {
        return Err(Error::Unfit(
            "nothing is to be changed: give scopes, role, note, project, models, class or \
             cancel_when_gone"
                .into(),
        ));
    }
    let named = KeyId::new(id.as_str());
    let changed = gateway.keys.change(&named, |record| {
        if let Some(scopes) = &scopes {
            record.scopes.clone_from(scopes);
        }
        if let Some(note) = &change.note {
            record.note.clone_from(note);
        }
        if let Some(project) = &change.project {
            record.project.clone_from(project);
        }
        if let Some(models) = &change.models {
            Arc::make_mut(&mut record.terms).models.clone_from(models);
        }
        if let Some(class) = class {
            Arc::make_mut(&mut record.terms).class = class;
        }
        if let Some(grace) = grace {
            Arc::make_mut(&mut record.terms).cancel_when_gone = grace;
        }
    });
    let record = changed.await?.ok_or_else(|| Error::NoSuchKey(id.clone()))?;
    let what = format!("{} changed the key {id} of {}, which {}", principal.key, record.tenant, done.join(", "));
    Ok(acted(what, Json(shown(&record))))
}

/// `POST /v1/keys/{key}/rotate` with `overlap`: makes a key that is as this one, which ends after a while. The text of the new
/// one is in this answer and nowhere else.
pub async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let Rotate { overlap } = read(&gateway, body).await?;
    let text = overlap.as_deref().unwrap_or(OVERLAP);
    let overlap = humantime::parse_duration(text).ok().filter(|time| *time <= LONGEST);
    let overlap =
        overlap.ok_or_else(|| Error::Unfit(format!("overlap is {text:?}, which is no time such as 24h or 0s")))?;
    let rotated = gateway.keys.rotate(&KeyId::new(id.as_str()), overlap).await?;
    let (key, record, old) = rotated.ok_or_else(|| Error::NoSuchKey(id.clone()))?;
    let answer = Made { key: key.reveal().to_owned(), shown: shown(&record), replaces: Some(shown(&old)) };
    let what = format!("{} made the key {} of {} in place of {id}", principal.key, record.id, record.tenant);
    Ok(acted(what, (StatusCode::CREATED, Json(answer))))
}

/// `DELETE /v1/keys/{key}`: ends a key, here at once and everywhere within 5 seconds. A user ends their own.
pub async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Keyholder(principal): Keyholder,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    Ok(acted(end(&gateway, &principal, &id).await?, StatusCode::NO_CONTENT))
}

/// Returns the keys of a tenant, or of all, by tenant and age.
///
/// # Errors
/// When the store fails.
pub async fn all(gateway: &Gateway, tenant: Option<&TenantId>) -> Result<Vec<KeyRecord>, Error> {
    let mut keys = gateway.keys.list().await?;
    keys.retain(|key| tenant.is_none_or(|tenant| *tenant == key.tenant));
    keys.sort_by(|left, right| {
        (&left.tenant, left.created_at, &left.id).cmp(&(&right.tenant, right.created_at, &right.id))
    });
    Ok(keys)
}

/// Makes a key of a tenant that there is, or for who asks: whoever does not administer makes only such. Its text is in what this
/// returns, and nowhere else. Returns, too, what was done, in words.
///
/// # Errors
/// [`Error::NoTenant`]; [`Error::Unfit`] for what no key can be; [`Error::Forbidden`] for one that would permit more than a
/// user may; [`Error::Conflict`] for a user who has as many as one may.
pub async fn make(
    gateway: &Gateway,
    principal: &Principal,
    create: Create,
) -> Result<(Secret, KeyRecord, String), Error> {
    let grant = match principal.may(Scope::Admin) {
        true => create.grant(principal)?,
        false => own(gateway, principal, create).await?,
    };
    let tenant = tenants::find(gateway, grant.tenant.as_str()).await?;
    grant.terms.class.map_or(Ok(()), |class| no_more_urgent(class, &tenant))?;
    let tenant = tenant.name;
    let key = Keys::make()?;
    let record = gateway.keys.register(&key, grant).await?;
    let what =
        format!("{} made the key {} of {tenant}, which permits {}", principal.key, record.id, names(&record.scopes));
    Ok((key, record, what))
}

/// Puts together what a user's own key is given.
async fn own(gateway: &Gateway, principal: &Principal, create: Create) -> Result<Grant, Error> {
    let longest = gateway.settings.oidc.key_time;
    if create.tenant.as_ref().is_some_and(|tenant| *tenant != principal.tenant) {
        return Err(Error::forbidden(principal, "make a key of another tenant, which takes one with the scope admin"));
    }
    let usual = (create.scopes.is_none() && create.role.is_none()).then(|| principal.scopes.clone());
    let mut grant = create.grant(principal)?;
    grant.scopes = usual.unwrap_or(grant.scopes);
    if !grant.scopes.iter().all(|scope| principal.may(*scope)) {
        return Err(Error::forbidden(principal, "make a key that permits more than they may themselves"));
    }
    // Whoever leaves has no token any more, and their keys end soon.
    let end = unix_seconds() + longest.as_secs();
    if grant.expires_at.is_some_and(|asked| asked > end) {
        let longest = match longest.as_secs() {
            seconds if seconds.is_multiple_of(DAY) => format!("{} days", seconds / DAY),
            _ => humantime::format_duration(longest).to_string(),
        };
        return Err(Error::Unfit(format!(
            "a key that one makes for oneself lives for at most {longest}; ask for less"
        )));
    }
    grant.expires_at.get_or_insert(end);
    grant.owner = principal.user.as_deref().map(str::to_owned);
    let keys = all(gateway, Some(&principal.tenant)).await?;
    let lives = |key: &&KeyRecord| owns(principal, key) && key.expires_at.is_none_or(|end| end > unix_seconds());
    if keys.iter().filter(lives).count() >= OWN {
        return Err(Error::Conflict(format!(
            "you have {OWN} keys, which is as many as one may make; revoke one first"
        )));
    }
    Ok(grant)
}

/// Returns whether a user made a key for themselves.
fn owns(principal: &Principal, key: &KeyRecord) -> bool {
    principal.user.is_some() && key.owner.as_deref() == principal.user.as_deref() && key.tenant == principal.tenant
}

/// Ends a key; of who does not administer, one of their own. Returns what was done, in words.
///
/// # Errors
/// [`Error::NoSuchKey`].
pub async fn end(gateway: &Gateway, principal: &Principal, id: &str) -> Result<String, Error> {
    if !principal.may(Scope::Admin) && !owns(principal, &find(gateway, id).await?) {
        return Err(Error::NoSuchKey(id.to_owned()));
    }
    if !gateway.keys.revoke(&KeyId::new(id)).await? {
        return Err(Error::NoSuchKey(id.to_owned()));
    }
    Ok(format!("{} revoked the key {id}", principal.key))
}

/// Returns the key of an id.
///
/// # Errors
/// [`Error::NoSuchKey`].
pub async fn find(gateway: &Gateway, id: &str) -> Result<KeyRecord, Error> {
    gateway.keys.find(&KeyId::new(id)).await?.ok_or_else(|| Error::NoSuchKey(id.to_owned()))
}

impl Create {
    /// Returns what the key is given, of the caller's tenant where no other is named.
    fn grant(self, principal: &Principal) -> Result<Grant, Error> {
        let scopes = scopes(self.scopes, self.role)?.unwrap_or_else(|| Scope::DEFAULT.to_vec());
        let batching = self.batching.map(|name| name.parse::<Batching>()).transpose().map_err(Error::Unfit)?;
        self.note.as_deref().map_or(Ok(()), |text| line("note", text))?;
        self.project.as_deref().map_or(Ok(()), |text| line("project", text))?;
        self.models.as_deref().map_or(Ok(()), Terms::check).map_err(Error::Unfit)?;
        self.quota.as_ref().map_or(Ok(()), quota::check)?;
        let expires_at = self.expires_in.map(|text| expiry(&text)).transpose()?;
        let batching = batching.unwrap_or_default();
        let class = self.class.as_deref().map(tenants::class).transpose()?;
        let cancel_when_gone = self.cancel_when_gone.as_deref().map(grace).transpose()?;
        let terms = Terms { quota: self.quota.unwrap_or_default(), models: self.models, class, cancel_when_gone };
        let (note, project) = (self.note, self.project);
        let tenant = self.tenant.unwrap_or_else(|| principal.tenant.clone());
        Ok(Grant { tenant, scopes, batching, expires_at, note, project, terms, owner: None })
    }
}

/// Reads what a key is to permit, by scopes or by the name of some.
fn scopes(scopes: Option<Vec<String>>, role: Option<String>) -> Result<Option<Vec<Scope>>, Error> {
    let read = match (scopes, role) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Error::Unfit("a role is a name for scopes: give the one or the others".into()));
        }
        (Some(names), None) => names.iter().map(|name| name.parse()).collect::<Result<Vec<Scope>, _>>(),
        (None, Some(role)) => role.parse::<Role>().map(|role| role.scopes().to_vec()),
    };
    match read.map_err(Error::Unfit)? {
        none if none.is_empty() => {
            Err(Error::Unfit("a key without scopes would permit nothing; leave them out for the usual ones".into()))
        }
        scopes => Ok(Some(scopes)),
    }
}

/// Refuses a key that would be more urgent than its tenant.
fn no_more_urgent(class: Class, tenant: &Tenant) -> Result<(), Error> {
    let most = tenant.terms.class.unwrap_or_default();
    match class < most {
        true => Err(Error::Unfit(format!(
            "a key is not more urgent than its tenant, and {} has the class {most}: give the tenant another, or the key none",
            tenant.name
        ))),
        false => Ok(()),
    }
}

/// Refuses what is not a short line.
fn line(name: &str, text: &str) -> Result<(), Error> {
    match text.chars().count() > LINE || text.chars().any(char::is_control) {
        true => Err(Error::Unfit(format!("a {name} is one line of at most {LINE} characters"))),
        false => Ok(()),
    }
}

fn names(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",")
}

/// Returns the second at which a key ends that is valid for a while from now.
fn expiry(text: &str) -> Result<u64, Error> {
    match humantime::parse_duration(text) {
        Ok(time) if (1..=LONGEST.as_secs()).contains(&time.as_secs()) => Ok(unix_seconds() + time.as_secs()),
        Ok(_) => Err(Error::Unfit(format!("expires_in is {text:?}, but must be between 1s and 36500d"))),
        Err(error) => {
            Err(Error::Unfit(format!("expires_in is {text:?}, which is no time such as 12h or 30d: {error}")))
        }
    }
}

/// Reads how many seconds a job goes on whose client is gone.
fn grace(text: &str) -> Result<u64, Error> {
    let seconds =
        humantime::parse_duration(text).ok().map(|time| time.as_secs()).filter(|seconds| GRACE.contains(seconds));
    let unfit = || format!("cancel_when_gone is {text:?}, but must be a time between 1s and 7days, such as 30s");
    seconds.ok_or_else(|| Error::Unfit(unfit()))
}

/// Writes how long a job goes on whose client is gone.
pub fn duration(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn shown(key: &KeyRecord) -> Shown {
    Shown {
        id: key.id.to_string(),
        tenant: key.tenant.to_string(),
        scopes: key.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        batching: key.batching.to_string(),
        created_at: time(key.created_at),
        expires_at: key.expires_at.map(time),
        note: key.note.clone(),
        project: key.project.clone(),
        models: key.terms.models.clone(),
        class: key.terms.class.map(Class::name),
        cancel_when_gone: key.terms.cancel_when_gone.map(duration),
        quota: key.terms.quota.clone(),
        owner: key.owner.clone(),
    }
}
