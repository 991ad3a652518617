use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by number, made when they are asked for and forgotten when their weights pass
/// the capacity, those that were not asked for longest first.
#[derive(Debug)]
pub(super) struct Cache<V> {
    slots: Mutex<Slots<V>>,
    capacity: u64,
}

/// Whoever comes first makes the value; the others wait for it.
type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

#[derive(Debug)]
struct Slots<V> {
    by_number: BTreeMap<usize, (Slot<V>, u64, u64)>,
    clock: u64,
    weight: u64,
}

impl<V> Cache<V> {
    pub(super) fn new(capacity: u64) -> Self {
        Self { slots: Mutex::new(Slots { by_number: BTreeMap::new(), clock: 0, weight: 0 }), capacity }
    }

    /// The value of `number`; `make` is called if it is not there.
    pub(super) fn get<E>(
        &self,
        number: usize,
        weight: u64,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        let slot = self.slot(number, weight);
        // A panic while making left nothing behind.
        let mut value = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = Arc::new(make()?);
        *value = Some(made.clone());
        Ok(made)
    }

    fn slot(&self, number: usize, weight: u64) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.clock += 1;
        let now = slots.clock;
        if let Some((slot, _, last)) = slots.by_number.get_mut(&number) {
            *last = now;
            return slot.clone();
        }
        while slots.weight + weight > self.capacity {
            let oldest = slots.by_number.iter().min_by_key(|(_, (_, _, last))| *last).map(|(&n, _)| n);
            let Some((_, gone, _)) = oldest.and_then(|oldest| slots.by_number.remove(&oldest)) else { break };
            slots.weight -= gone;
        }
        slots.weight += weight;
        let slot = Slot::default();
        slots.by_number.insert(number, (slot.clone(), weight, now));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_nothing_is_made_twice_while_there() {
        let cache = Cache::new(10);
        let made = Mutex::new(Vec::new());
        let get = |number: usize, weight| {
            let value = cache.get(number, weight, || {
                made.lock().unwrap().push(number);
                Ok::<_, ()>(number)
            });
            assert_eq!(*value.unwrap(), number);
        };
        for (number, weight) in [(1, 4), (2, 4), (1, 4), (3, 4), (1, 4), (2, 4), (4, 99), (1, 4)] {
            get(number, weight);
        }
        assert_eq!(*made.lock().unwrap(), [1, 2, 3, 2, 4, 1]);
    }

    #[test]
    fn a_failure_is_tried_again() {
        let cache = Cache::<u8>::new(10);
        assert_eq!(cache.get(0, 1, || Err("no")), Err("no"));
        assert_eq!(cache.get(0, 1, || Ok::<_, &str>(7)), Ok(Arc::new(7)));
    }
}
