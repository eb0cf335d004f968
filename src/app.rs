//! What every command is handed: pools, clock, keys, settings, and a registry of what the rooms bring along.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::Deref,
    sync::Arc,
};

use sqlx::{PgPool, Postgres, Transaction};

use crate::{
    batcher::{Busy, Kind, Lanes},
    clock::Clock,
    config::Settings,
    id::{FestivalId, PromoterId},
    mailer::Mailer,
    secrets::Secrets,
};

/// Connections by purpose, so that no purpose waits behind another (10-rules 6).
#[derive(Debug, Clone)]
pub struct Pools {
    /// Placing orders.
    pub place: PgPool,
    /// Completing orders.
    pub complete: PgPool,
    /// Scanning.
    pub scan: PgPool,
    /// Public pages and reads of fans and devices.
    pub web: PgPool,
    /// Background work.
    pub work: PgPool,
    /// The dashboard and the promoter API, as the role `gatefold_promoter`.
    pub promoter: PgPool,
}

impl Pools {
    /// Every pool with its name.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &PgPool); 6] {
        [("place", &self.place), ("complete", &self.complete), ("scan", &self.scan), ("web", &self.web), ("work", &self.work), ("promoter", &self.promoter)]
    }
}

/// What the rooms bring along, found by type: batch kinds, email renderers, payment providers, caches. `server.rs` fills it.
#[derive(Default)]
pub struct Registry(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Registry {
    /// Adds a thing.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, thing: T) -> Self {
        self.0.insert(TypeId::of::<T>(), Box::new(thing));
        self
    }

    /// Adds the lanes of a kind of batch.
    #[must_use]
    pub fn with_lanes<K: Kind>(self) -> Self {
        self.with(Lanes::<K>::default())
    }
}

/// The house as a command sees it. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inside>);

/// The inside of [`App`].
pub struct Inside {
    /// Database connections by purpose.
    pub pools: Pools,
    /// The only `now`.
    pub clock: Clock,
    /// The master key's children.
    pub secrets: Secrets,
    /// How emails leave the house.
    pub mailer: Mailer,
    /// Settings that commands look at.
    pub settings: Settings,
    registry: Registry,
}

impl Deref for App {
    type Target = Inside;
    fn deref(&self) -> &Inside {
        &self.0
    }
}

impl App {
    /// Puts a house together.
    #[must_use]
    pub fn new(pools: Pools, clock: Clock, secrets: Secrets, mailer: Mailer, settings: Settings, registry: Registry) -> Self {
        Self(Arc::new(Inside { pools, clock, secrets, mailer, settings, registry }))
    }

    /// A thing of the registry.
    ///
    /// # Panics
    /// When `server.rs` did not register it: a mistake in the program that every start would show.
    #[must_use]
    pub fn the<T: Any + Send + Sync>(&self) -> &T {
        self.registry
            .0
            .get(&TypeId::of::<T>())
            .and_then(|thing| thing.downcast_ref())
            .unwrap_or_else(|| panic!("{} is not registered", std::any::type_name::<T>()))
    }

    /// Passes a request through the lane of its kind and festival.
    ///
    /// # Errors
    /// [`Busy`] when the lane cannot take or finish it.
    pub async fn pass<K: Kind>(&self, festival: FestivalId, request: K::Request) -> Result<K::Answer, Busy> {
        self.the::<Lanes<K>>().pass(self, festival, request).await
    }

    /// Opens a transaction that speaks for a promoter: the only way to the promoter's pool.
    ///
    /// # Errors
    /// What the database said.
    pub async fn for_promoter(&self, who: PromoterId) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.pools.promoter.begin().await?;
        sqlx::query("select set_config('gatefold.promoter', $1, true)").bind(who.to_string()).execute(&mut *tx).await?;
        Ok(tx)
    }
}
