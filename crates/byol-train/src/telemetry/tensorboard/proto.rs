//! The part of TensorFlow's event format that is written here (event.proto and summary.proto:
//! field names and numbers are the format's).

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// `status` 1 is START: readers forget what earlier files say of its step and later ones.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(oneof = "Content", tags = "2, 4, 5")]
    pub value: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "5")]
    Histo(Histogram),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 3 is RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// PNG.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded_image_string: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(double, tag = "1")]
    pub min: f64,
    #[prost(double, tag = "2")]
    pub max: f64,
    #[prost(double, tag = "3")]
    pub num: f64,
    #[prost(double, tag = "4")]
    pub sum: f64,
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

impl Histogram {
    /// Of values in even buckets; none of nothing. Values that are no numbers are left out.
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        const BUCKETS: usize = 60;
        let values = values.filter(|x| x.is_finite());
        let (min, max) =
            values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), x| (x.min(min), x.max(max)));
        if min > max {
            return None;
        }
        let width = ((max - min) / BUCKETS as f64).max(f64::MIN_POSITIVE);
        let mut histogram = Self {
            min,
            max,
            bucket_limit: (1..=BUCKETS).map(|i| min + width * i as f64).collect(),
            bucket: vec![0.0; BUCKETS],
            ..Self::default()
        };
        for x in values {
            histogram.bucket[(((x - min) / width) as usize).min(BUCKETS - 1)] += 1.0;
            histogram.num += 1.0;
            histogram.sum += x;
            histogram.sum_squares += x * x;
        }
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_a_bucket() {
        let histogram = Histogram::of([1.0, -1.0, f64::NAN, 0.99, 0.0].into_iter()).unwrap();
        assert_eq!((histogram.min, histogram.max, histogram.num), (-1.0, 1.0, 4.0));
        assert_eq!(histogram.bucket.iter().sum::<f64>(), 4.0);
        assert_eq!(histogram.bucket[59], 2.0);
        assert_eq!(Histogram::of([3.0, 3.0].into_iter()).unwrap().bucket[0], 2.0);
        assert!(Histogram::of([f64::NAN].into_iter()).is_none());
    }
}
