use proptest::prelude::*;

use super::*;

fn jpeg() -> Vec<u8> {
    let picture =
        image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, (x * y) as u8]));
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes).encode_image(&picture).unwrap();
    bytes
}

fn array(header: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{header}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn a_jpeg_that_was_cut_is_refused() {
    let mut bytes = jpeg();
    decode(&bytes, 3, Limits::STANDARD).unwrap();
    for len in (0..bytes.len()).step_by(7) {
        let error = decode(&bytes[..len], 3, Limits::STANDARD).unwrap_err().to_string();
        assert!(len < bytes.len() / 2 || error.contains("cut off"), "{len} bytes: {error}");
    }
    bytes.extend_from_slice(b"what cameras write behind the end \xff\xda \xff\xd9 \xff\xda");
    decode(&bytes, 3, Limits::STANDARD).unwrap();
}

#[test]
fn claims_are_refused_before_they_cost_anything() {
    // A PNG header of 65,535 x 65,535, and a .npy of the same.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 2, 0, 0, 0]);
    let crc = crc32fast::hash(&png[12..]);
    png.extend(crc.to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    for bytes in [png, array("{'descr': '|u1', 'fortran_order': False, 'shape': (65535, 65535, 3), }", b"")] {
        let error = decode(&bytes, 3, Limits::STANDARD).unwrap_err().to_string();
        assert!(error.contains("65535x65535 pixels") && error.contains("limits"), "{error}");
        assert_eq!(probe(&bytes, Limits::STANDARD).unwrap_err().to_string(), error);
    }
    let small = Limits { max_file: 100, ..Limits::STANDARD };
    let error = decode(&jpeg(), 3, small).unwrap_err().to_string();
    assert!(error.contains("more than 100"), "{error}");
}

#[test]
fn sixteen_bits_become_eight_by_the_stated_rule() {
    for value in 0..=u16::MAX {
        let exact = (f64::from(value) / 257.0).round() as u8;
        assert_eq!(Rules::STANDARD.from16(value), exact, "{value}");
    }
    let twelve = Rules { range16: (100, 4095), ..Rules::STANDARD };
    assert_eq!([0, 100, 2098, 4095, 9999].map(|v| twelve.from16(v)), [0, 0, 128, 255, 255]);
    let bytes = array("{'descr': '>u2', 'fortran_order': False, 'shape': (1, 2), }", &[0x80, 0, 0xff, 0xff]);
    assert_eq!(decode(&bytes, 1, Limits::STANDARD).unwrap().data, [128, 255]);
}

#[test]
fn arrays_keep_their_channels() {
    let picture = Decoded { width: 3, height: 2, channels: 5, data: (0..30).collect() };
    let bytes = npy::encode(&picture);
    assert_eq!((bytes.len() - 30) % 64, 0);
    assert_eq!(decode(&bytes, 5, Limits::STANDARD).unwrap(), picture);
    let header = probe(&bytes, Limits::STANDARD).unwrap();
    assert_eq!((header.width, header.height, header.channels, header.deep), (3, 2, 5, false));
    let error = decode(&bytes, 3, Limits::STANDARD).unwrap_err().to_string();
    assert!(error.contains("5 channels in a set of 3"), "{error}");
    for (header, word) in [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }", "type <f4"),
        ("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1), }", "ascontiguousarray"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1), }", "promises 2 bytes, 1 follow"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", "shape (1,)"),
        ("{'descr': '|u1'}", "keys"),
    ] {
        let error = decode(&array(header, &[1]), 1, Limits::STANDARD).unwrap_err().to_string();
        assert!(error.contains(word), "{header}: {error}");
    }
}

#[test]
fn transparency_shows_what_is_behind() {
    assert_eq!(laid_over(&[10, 255, 10, 0], 1, [255; 3]), (1, vec![10, 255]));
    assert_eq!(laid_over(&[10, 0], 1, [1, 2, 3]), (3, vec![1, 2, 3]));
    assert_eq!(laid_over(&[0, 100, 200, 128], 3, [255; 3]), (3, vec![127, 177, 227]));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..2000, value: u8, cut in 0usize..3000) {
        let mut bytes = jpeg();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(1));
        let _ = decode_native(&bytes, Rules::STANDARD, Limits::STANDARD);
    }
}
