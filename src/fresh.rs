//! What was read a moment ago, kept for a second, or longer where reading costs a lot: one reader asks, the others wait for the same answer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long what was read is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long an impatient one waits for what another one reads, before reading it alone.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longer than any request lasts.
const FOREVER: Duration = Duration::from_secs(3_600);
/// The most keys that are kept; made-up ones count, too.
const MOST: usize = 4_096;

/// Values by key, at most a second old.
pub struct Fresh<K, V>(Mutex<HashMap<K, Arc<Slot<V>>>>);

/// Until when a value is believed, and the value.
type Slot<V> = tokio::sync::Mutex<Option<(Instant, V)>>;

impl<K, V> Default for Fresh<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Fresh<K, V> {
    /// The value of a key, read again when it is older than a second. An error is not kept.
    ///
    /// `read` makes the future of reading only where it is needed, and apart from the caller's: a future that is passed along takes its room in every
    /// future on its way, whether anything is read or not (measured: a quarter of what a page from the shelf costs was moving it).
    ///
    /// # Errors
    /// What reading said.
    pub async fn get<E, F: Future<Output = Result<V, E>>>(&self, key: K, read: impl FnOnce() -> F) -> Result<V, E> {
        self.get_for(key, |_| BELIEVED, FOREVER, read).await
    }

    /// The value of a key that a lane needs: who reads may hang on a connection that says nothing any more, so nobody waits long for another one.
    ///
    /// # Errors
    /// What reading said.
    pub async fn get_impatiently<E, F: Future<Output = Result<V, E>>>(&self, key: K, read: impl FnOnce() -> F) -> Result<V, E> {
        self.get_for(key, |_| BELIEVED, PATIENCE, read).await
    }

    /// The value of a key that costs a lot: believed for ten times as long as reading it took, so that reading never takes more than a tenth of
    /// the time, but a second at least.
    ///
    /// # Errors
    /// What reading said.
    pub async fn get_costly<E, F: Future<Output = Result<V, E>>>(&self, key: K, read: impl FnOnce() -> F) -> Result<V, E> {
        self.get_for(key, |took| (took * 10).max(BELIEVED), FOREVER, read).await
    }

    async fn get_for<E, F: Future<Output = Result<V, E>>>(
        &self,
        key: K,
        believed: fn(Duration) -> Duration,
        patience: Duration,
        read: impl FnOnce() -> F,
    ) -> Result<V, E> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.len() > MOST {
                // What is fresh or just being read stays: made-up keys push out nothing that is asked for.
                slots.retain(|_, slot| slot.try_lock().map_or(true, |kept| kept.as_ref().is_some_and(|(until, _)| Instant::now() < *until)));
            }
            slots.entry(key.clone()).or_default().clone()
        };
        // Nobody reads, nearly always: no timer is made for that.
        let mut kept = match slot.try_lock() {
            Ok(kept) => kept,
            Err(_) => match tokio::time::timeout(patience, slot.lock()).await {
                Ok(kept) => kept,
                Err(_) => {
                    self.give_up(&key, &slot);
                    return Box::pin(read()).await;
                }
            },
        };
        if let Some((until, value)) = &*kept
            && Instant::now() < *until
        {
            return Ok(value.clone());
        }
        let begin = Instant::now();
        let value = Box::pin(read()).await?;
        *kept = Some((Instant::now() + believed(begin.elapsed()), value.clone()));
        Ok(value)
    }

    /// Whoever comes next meets an empty place.
    fn give_up(&self, key: &K, slot: &Arc<Slot<V>>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(key).is_some_and(|now| Arc::ptr_eq(now, slot)) {
            slots.remove(key);
        }
    }

    /// Forgets everything: what is asked next is read again.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_hangs_while_reading_holds_up_nobody_who_is_impatient() {
        let fresh = Arc::new(Fresh::<u8, u8>::default());
        let house = fresh.clone();
        let hanging = tokio::spawn(async move { house.get(1, std::future::pending::<Result<u8, ()>>).await });
        let is_read = || fresh.0.lock().unwrap().get(&1).is_some_and(|slot| slot.try_lock().is_err());
        while !is_read() {
            tokio::task::yield_now().await;
        }
        assert_eq!(fresh.get_impatiently(1, async || Ok::<_, ()>(2)).await, Ok(2));
        assert_eq!(fresh.get_impatiently(1, async || Ok::<_, ()>(3)).await, Ok(3));
        assert_eq!(fresh.get_impatiently(1, async || Ok::<_, ()>(4)).await, Ok(3));
        assert!(!hanging.is_finished());
        hanging.abort();
    }
}
