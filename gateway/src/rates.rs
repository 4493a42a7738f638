//! How often anybody may ask: each key for itself, and each address where there is no valid key.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::Principal;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use ids::KeyId;
use store::Whose;

use crate::{Error, Settings};

/// How often who has not asked for long is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// The rates of one gateway.
pub struct Rates {
    keys: Limiter<KeyId>,
    addresses: Limiter<IpAddr>,
    /// Of who has a quota, by what it is.
    quotas: Mutex<HashMap<Whose, (u64, DefaultDirectRateLimiter)>>,
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

impl Rates {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            keys: RateLimiter::hashmap(quota(settings.key_rate, settings.key_burst)),
            addresses: RateLimiter::hashmap(quota(settings.keyless_rate, settings.keyless_burst)),
            quotas: Mutex::default(),
        }
    }

    /// Counts a request under a valid key, against what every key may and against quotas.
    ///
    /// # Errors
    /// [`Error::TooOften`], [`Error::QuotaOfRequests`].
    pub fn key(&self, principal: &Principal) -> Result<(), Error> {
        count(&self.keys, &principal.key)?;
        if let Some(rate) = principal.terms.quota.requests_per_second {
            self.within(Whose::Key(principal.key.clone()), rate)?;
        }
        match principal.tenants.quota.requests_per_second {
            Some(rate) => self.within(Whose::Tenant(principal.tenant.clone()), rate),
            None => Ok(()),
        }
    }

    fn within(&self, whose: Whose, rate: u64) -> Result<(), Error> {
        let per_second = u32::try_from(rate).unwrap_or(u32::MAX);
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (rate, RateLimiter::direct(quota(per_second, per_second)));
        let (kept, limiter) = quotas.entry(whose.clone()).or_insert_with(fresh);
        if *kept != rate {
            (*kept, *limiter) = fresh();
        }
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Error::QuotaOfRequests { whose, rate, seconds: wait.as_secs() + 1 }
        })
    }

    /// Counts a request without a valid key.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub fn address(&self, address: IpAddr) -> Result<(), Error> {
        count(&self.addresses, &network(address))
    }

    /// Forgets whose requests no longer count, for as long as it is polled.
    pub async fn forget(&self) {
        loop {
            tokio::time::sleep(FORGET).await;
            self.keys.retain_recent();
            self.addresses.retain_recent();
            let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
            // What has not been asked for a second is as one that has never been.
            quotas.retain(|_, (_, limiter)| limiter.check().is_err());
        }
    }
}

fn count<K: Hash + Eq + Clone>(limiter: &Limiter<K>, name: &K) -> Result<(), Error> {
    limiter.check_key(name).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Error::TooOften { seconds: wait.as_secs() + 1 }
    })
}

fn quota(rate: u32, burst: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(rate)).allow_burst(at_least_one(burst))
}

/// Returns what one customer of a provider has: of IPv6 that is a network of 2^64 addresses.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_key_and_each_network_has_a_rate_of_its_own() {
        let settings = Settings { key_rate: 1, key_burst: 3, keyless_rate: 1, keyless_burst: 2, ..Settings::default() };
        let rates = Rates::new(&settings);
        let of = |key: &str| Principal {
            key: KeyId::new(key),
            user: None,
            tenant: ids::TenantId::new("ada"),
            scopes: Vec::new(),
            batching: program::Batching::default(),
            expires_at: None,
            project: None,
            terms: Arc::default(),
            tenants: Arc::default(),
        };
        let (one, other) = (of("one"), of("other"));
        for _ in 0..3 {
            rates.key(&one).unwrap();
        }
        assert!(matches!(rates.key(&one), Err(Error::TooOften { seconds: 1..=2 })));
        rates.key(&other).unwrap();
        let address = |text: &str| rates.address(text.parse().unwrap());
        address("2001:db8::1").unwrap();
        address("2001:db8::2").unwrap();
        assert!(address("2001:db8::3").is_err(), "one network");
        address("2001:db8:0:1::1").unwrap();
        address("192.0.2.1").unwrap();
        address("::ffff:192.0.2.1").unwrap();
        assert!(address("192.0.2.1").is_err());
        // A quota is a tenant's, whichever its keys, and counts from the moment that it is another.
        let mut limited = (of("a"), of("b"));
        for principal in [&mut limited.0, &mut limited.1] {
            Arc::make_mut(&mut principal.tenants).quota.requests_per_second = Some(2);
        }
        rates.key(&limited.0).unwrap();
        rates.key(&limited.1).unwrap();
        let refused = rates.key(&limited.0).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the tenant ada has a quota of 2 requests a second at each gateway; try again in 1 s"
        );
        Arc::make_mut(&mut limited.0.tenants).quota.requests_per_second = Some(3);
        rates.key(&limited.0).unwrap();
    }
}
