//! Sets that are read piece by piece, their order, and the loader.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use byol_data::{
    Cursor, DataError, ImageDataset, Labels, Loader, LoaderConfig, NewSample, OpenOptions, Partition,
    RangeRead, Shard, ShardWriter,
};
use proptest::prelude::*;
use support::{number, shard};

/// Opens shards of `lengths` pictures so that nothing stays in memory but a window.
fn streamed(lengths: &[Vec<usize>], window: u64) -> ImageDataset {
    let options = OpenOptions { in_memory: 0, window, ..OpenOptions::default() };
    ImageDataset::from_shards_with("train", shards(lengths), &options).unwrap()
}

fn shards(lengths: &[Vec<usize>]) -> Vec<Shard> {
    let mut first = 0;
    let mut shards = Vec::new();
    for (i, lengths) in lengths.iter().enumerate() {
        shards.push(shard(&format!("train-{i}"), first, lengths, true));
        first += lengths.len();
    }
    shards
}

fn config(batch: usize, n_batches: u64) -> LoaderConfig {
    LoaderConfig {
        seed: 5,
        batch,
        partition: Partition::WHOLE,
        start: Cursor::default(),
        n_batches,
        parts: 1,
        threads: 2,
        prefetch: 2,
    }
}

type Delivered = Vec<(Cursor, Vec<usize>, Vec<u64>)>;

/// What a loader delivers: cursors, numbers, and the number that each picture's bytes tell.
/// With slots of 200 kB each batch is handed over by itself, with small ones many at a time.
fn delivered(set: &Arc<ImageDataset>, config: LoaderConfig, slot_len: usize) -> Delivered {
    let mut loader = Loader::<1, u64>::start(set.clone(), config, slot_len, |set, index, _, [slot]| {
        slot[0] = number(set, index) as u64;
        Ok(())
    })
    .unwrap();
    let mut all = Vec::new();
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        let told = batch.data[0].chunks(slot_len).map(|slot| slot[0]).collect();
        all.push((batch.cursor, batch.samples.clone(), told));
        loader.recycle(batch);
    }
    all
}

fn lengths() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let shard = prop::collection::vec(prop_oneof![8usize..200, Just(300_000), Just(900_000)], 1..25);
    prop::collection::vec(shard, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn piece_by_piece_is_the_same_set_as_in_memory(lengths in lengths(), window in 1u64..4_000_000) {
        let memory = ImageDataset::from_shards("train", shards(&lengths)).unwrap();
        let pieces = streamed(&lengths, window);
        prop_assert!(memory.in_memory() && !pieces.in_memory());
        prop_assert_eq!(memory.fingerprint(), pieces.fingerprint());
        prop_assert_eq!(memory.labels().unwrap(), pieces.labels().unwrap());
        for i in (0..memory.len()).rev() {
            let (a, b) = (memory.sample(i).unwrap(), pieces.sample(i).unwrap());
            prop_assert_eq!((a.bytes(), a.path(), a.label(), a.id), (b.bytes(), b.path(), b.label(), b.id));
            prop_assert_eq!(number(&pieces, i), i);
        }
    }

    #[test]
    fn the_same_order_for_any_threads_prefetch_and_ranks_and_from_any_cursor(
        lengths in lengths(),
        window in 1u64..4_000_000,
        in_memory: bool,
        batch in 1usize..9,
        threads in 1usize..5,
        prefetch in 0usize..5,
        world in 1usize..4,
        from in 0u64..12,
        slot_len in prop_oneof![Just(1usize), Just(25_000)],
    ) {
        let set = if in_memory {
            ImageDataset::from_shards("train", shards(&lengths)).unwrap()
        } else {
            streamed(&lengths, window)
        };
        prop_assume!(set.len() >= batch);
        let set = Arc::new(set);
        let n = 12;
        let whole = delivered(&set, config(batch, n), 1);
        prop_assert!(whole.iter().all(|(_, samples, told)| samples.iter().zip(told).all(|(&a, &b)| a as u64 == b)));
        let other = LoaderConfig { threads, prefetch, ..config(batch, n) };
        prop_assert_eq!(&delivered(&set, other, slot_len), &whole);
        // Resumed at a cursor: the rest.
        let from = from.min(n - 1);
        let rest = LoaderConfig { start: whole[from as usize].0, n_batches: n - from, ..config(batch, n) };
        prop_assert_eq!(&delivered(&set, rest, slot_len)[..], &whole[from as usize..]);
        // The ranks' shares are the global batches.
        let shares: Vec<_> = (0..world)
            .map(|rank| {
                let config = LoaderConfig { partition: Partition { rank, world }, ..config(batch, n) };
                delivered(&set, config, slot_len)
            })
            .collect();
        for (k, global) in whole.iter().enumerate() {
            let joined: Vec<usize> = shares.iter().flat_map(|share| share[k].1.clone()).collect();
            prop_assert_eq!(&joined, &global.1);
        }
        // And so are the parts of each batch, for a replica as for all.
        let parts = delivered(&set, LoaderConfig { parts: world, ..config(batch, n) }, slot_len);
        for (k, global) in whole.iter().enumerate() {
            let of_batch = &parts[k * world..(k + 1) * world];
            let joined: Vec<usize> = of_batch.iter().flat_map(|part| part.1.clone()).collect();
            prop_assert_eq!(&joined, &global.1);
            prop_assert!(of_batch.iter().all(|part| part.0 == global.0));
        }
        // A part is the same pictures for any number of replicas, which share it out.
        let halves = delivered(&set, LoaderConfig { parts: 2, ..config(batch, n) }, slot_len);
        let shares: Vec<_> = (0..world)
            .map(|rank| {
                let partition = Partition { rank, world };
                delivered(&set, LoaderConfig { partition, parts: 2, ..config(batch, n) }, slot_len)
            })
            .collect();
        for (k, half) in halves.iter().enumerate() {
            let joined: Vec<usize> = shares.iter().flat_map(|share| share[k].1.clone()).collect();
            prop_assert_eq!(&joined, &half.1);
        }
        // Each picture at most once an epoch.
        let per_epoch = (set.len() / batch) as u64;
        for epoch in 0..n.div_ceil(per_epoch) {
            let mut seen: Vec<usize> =
                whole.iter().filter(|b| b.0.epoch == epoch).flat_map(|b| b.1.clone()).collect();
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
        }
    }
}

/// Counts the bytes that are read.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl RangeRead for Counted {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(into.len() as u64, Ordering::Relaxed);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        into.copy_from_slice(self.0.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[test]
fn an_epoch_reads_each_byte_about_once_from_wherever_it_lies() {
    let read = Arc::new(AtomicU64::new(0));
    let mut total = 0;
    let shards = (0..4)
        .map(|i| {
            let mut writer = ShardWriter::in_memory(Labels::None).unwrap();
            for k in 0..100u8 {
                let bytes = vec![k.wrapping_add(i); 40_000];
                writer.push(NewSample { bytes: &bytes, path: "", label: None }).unwrap();
            }
            let bytes = writer.finish().unwrap();
            total += bytes.len() as u64;
            Shard::remote(&format!("far-{i}"), Arc::new(Counted(bytes, read.clone())))
        })
        .collect();
    let options = OpenOptions { in_memory: 0, window: 4 << 20, ..OpenOptions::default() };
    let set = Arc::new(ImageDataset::from_shards_with("train", shards, &options).unwrap());
    assert!(read.swap(0, Ordering::Relaxed) < total / 20, "opening reads footers only");
    // Small batches, and such as are two windows long.
    for (batch, n) in [(32, 12), (200, 2)] {
        let slot_len = (1 << 20) / batch; // a batch is a group of its own
        let loader = Loader::<1>::start(set.clone(), config(batch, n), slot_len, |set, index, _, [slot]| {
            slot[0] = set.sample(index)?.bytes().len() as f32;
            Ok(())
        });
        for batch in loader.unwrap() {
            assert!(batch.unwrap().data[0].chunks(slot_len).all(|slot| slot[0] == 40_000.0));
        }
        let read = read.swap(0, Ordering::Relaxed);
        assert!(read < total + total / 4, "{read} bytes of {total} in batches of {batch}");
    }
}

#[test]
fn damage_is_named_when_it_is_met_and_the_loader_stops() {
    let lengths: Vec<usize> = vec![100_000; 60];
    let kind = Labels::None;
    let mut writer = ShardWriter::in_memory(kind).unwrap();
    for (i, &length) in lengths.iter().enumerate() {
        writer
            .push(NewSample { bytes: &vec![i as u8; length], path: &format!("{i}.png"), label: None })
            .unwrap();
    }
    let mut bytes = writer.finish().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let options = OpenOptions { in_memory: 0, ..OpenOptions::default() };
    let set = ImageDataset::from_shards_with("train", vec![Shard::in_memory("far.parquet", bytes)], &options)
        .unwrap();
    let loader = Loader::<1>::start(Arc::new(set), config(20, 100), 1, |set, index, _, [slot]| {
        slot[0] = f32::from(set.sample(index)?.bytes()[0]);
        Ok(())
    });
    let errors: Vec<String> =
        loader.unwrap().filter_map(|batch| batch.err().map(|e| e.to_string())).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("far.parquet") && errors[0].contains("does not match its checksum"),
        "{}",
        errors[0]
    );
}

#[test]
fn a_loader_can_be_left_in_the_middle() {
    let set = Arc::new(ImageDataset::from_shards("train", shards(&[vec![8; 100]])).unwrap());
    let mut loader = Loader::<1>::start(set.clone(), config(4, 1_000_000), 1, |_, _, _, _| Ok(())).unwrap();
    let first = loader.next().unwrap().unwrap();
    assert_eq!(first.samples.len(), 4);
    drop(loader);
    assert_eq!(Arc::strong_count(&set), 1, "its threads have ended");
}

#[test]
fn errors_name_shard_row_and_path() {
    let set = ImageDataset::from_shards("train", shards(&[vec![8; 5], vec![8; 5]])).unwrap();
    let loader = Loader::<1>::start(Arc::new(set), config(10, 1), 1, |set, index, _, _| {
        if index == 7 { Err(set.picture_error(index, &"broken")) } else { Ok(()) }
    });
    let error = loader.unwrap().next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "train-1, row 2 (7.bin): broken");
    assert!(matches!(error, DataError::Picture { row: 2, .. }));
}

#[test]
fn batches_before_an_error_arrive_and_nothing_after_it() {
    let set = Arc::new(ImageDataset::from_shards("train", shards(&[vec![8; 100]])).unwrap());
    let order: Vec<usize> = {
        let plan = set.epoch(5, 0, 10).unwrap();
        (0..plan.n_batches()).flat_map(|k| plan.batch(k, Partition::WHOLE).collect::<Vec<_>>()).collect()
    };
    // The later ones fail at once, the first one takes its time.
    let (first, later) = (order[33], [order[34], order[57], order[92]]);
    for (threads, slot_len) in [(1, 1), (2, 1), (5, 1), (1, 1 << 16), (2, 1 << 16), (5, 1 << 16)] {
        let config = LoaderConfig { threads, ..config(10, 40) };
        let loader = Loader::<1>::start(set.clone(), config, slot_len, move |set, index, _, _| {
            if index == first {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            if index == first || later.contains(&index) {
                return Err(set.picture_error(index, &"broken"));
            }
            Ok(())
        });
        let delivered: Vec<_> = loader.unwrap().collect();
        assert_eq!(delivered.len(), 4, "three whole batches and the error of the fourth");
        assert!(
            delivered[..3].iter().zip(order.chunks(10)).all(|(b, want)| b.as_ref().unwrap().samples == want)
        );
        let DataError::Picture { row, .. } = delivered[3].as_ref().unwrap_err() else { panic!() };
        assert_eq!(*row, first, "the first in the order of samples, by {threads} threads");
    }
}

#[test]
fn a_panic_is_an_error_and_not_the_end() {
    let set = Arc::new(ImageDataset::from_shards("train", shards(&[vec![8; 100]])).unwrap());
    for slot_len in [1, 1 << 16] {
        let loader = Loader::<1>::start(set.clone(), config(10, 40), slot_len, |_, index, _, _| {
            assert_ne!(index, 50, "as it was told");
            Ok(())
        });
        let delivered: Vec<_> = loader.unwrap().collect();
        let (last, whole) = delivered.split_last().unwrap();
        assert!(whole.len() < 10 && whole.iter().all(Result::is_ok));
        assert!(last.as_ref().unwrap_err().to_string().contains("panicked"));
    }
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let set = Arc::new(ImageDataset::from_shards("train", shards(&[vec![8; 100]])).unwrap());
    for (slot_len, rank, world) in [(0, 0, 1), (1, 0, 0), (1, 2, 2)] {
        let config = LoaderConfig { partition: Partition { rank, world }, ..config(10, 40) };
        let error = Loader::<1>::start(set.clone(), config, slot_len, |_, _, _, _| Ok(())).unwrap_err();
        assert!(matches!(error, DataError::Loader(_)), "{error}");
    }
}
