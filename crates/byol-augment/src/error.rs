use thiserror::Error;

/// What can be wrong with a policy, a picture or a buffer.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum AugmentError {
    /// A value of a policy is outside of its range.
    #[error("policy: `{key}` is {value}, expected {expected}")]
    Policy {
        /// The key, as written in TOML.
        key: String,
        /// The offending value.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A policy's TOML does not parse, or has an unknown key.
    #[error("policy: {0}")]
    Toml(String),
    /// No policy of that name ships with the crate.
    #[error("no policy is called `{name}`; there are: {known}")]
    UnknownPolicy {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An operation needs colour and the picture has none.
    #[error(
        "`{op}` needs 3 channels and the picture has {channels}; resolve the policy for \
         {channels} channels first, which leaves out what has no meaning"
    )]
    NeedsColour {
        /// The operation.
        op: &'static str,
        /// Channels of the picture.
        channels: usize,
    },
    /// A picture's buffer does not have the stated size.
    #[error("a picture of {width}x{height}x{channels} needs {expected} bytes, got {got}")]
    PixelCount {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Interleaved channels.
        channels: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A picture without pixels.
    #[error("a picture of {width}x{height}x{channels} has no pixels")]
    EmptyPicture {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Interleaved channels.
        channels: usize,
    },
    /// The output slice has the wrong length.
    #[error("the view needs a slice of {expected} values, got {got}")]
    OutputLength {
        /// Values needed: channels x size x size.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// Stored parameters that no picture of this shape, or no policy, could have.
    #[error("the parameters do not fit: {what} for {got}")]
    Params {
        /// What they ask for.
        what: String,
        /// What is at hand.
        got: String,
    },
    /// The processor has no such instructions.
    #[error("this processor has no {path} instructions; `Path::best()` is the fastest it has")]
    NoPath {
        /// The path.
        path: &'static str,
    },
    /// Parameters drawn for one picture were applied to another.
    #[error("the parameters were drawn for a picture of {expected}, this one is {got}")]
    ShapeMismatch {
        /// Shape the parameters were drawn for.
        expected: String,
        /// Shape at hand.
        got: String,
    },
}
