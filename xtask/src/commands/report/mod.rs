//! `report`: one HTML file that needs nothing else.

mod chart;
mod html;
mod pictures;
mod plane;
mod scores;
mod tuned;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use byol_data::write_atomic;
use byol_train::RunDir;
use serde_json::{Value, json};

use self::chart::{Series, lines, short};
use self::html::{data_uri, escape};
use super::preview::views_png;
use super::runs::{Run, metrics};
use crate::cli::{ReportArgs, WeightsArgs};
use crate::compose::{RUNS, Source, set_threads};
use crate::device::{Place, pick_for_encoder};
use crate::out::check_out;
use crate::subject::Subject;
use crate::terminal::{CARGO, say, tell, typed};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Colours of runs.
const COLORS: usize = 6;
/// Runs that are compared on one page, at most.
const MOST_RUNS: usize = 6;
/// Pictures whose views are shown.
const VIEWS: usize = 4;

/// Writes the page: of one run into its folder, of several beside where one is.
pub fn run(args: &ReportArgs) -> Result<()> {
    set_threads(args.how.threads)?;
    let place = pick_for_encoder(args.how.device, args.how.json)?;
    let paths: Vec<PathBuf> = match args.run.as_slice() {
        [] => vec![RunDir::latest(RUNS.as_ref())?.path().into()],
        named => named.to_vec(),
    };
    if paths.len() > MOST_RUNS {
        return Err(crate::exit::Usage(format!("--run: {} runs, at most {MOST_RUNS}", paths.len())).into());
    }
    let runs: Vec<Run> = paths.iter().map(|path| Run::open(path)).collect::<Result<_>>()?;
    let out = args.out.clone().unwrap_or_else(|| match runs.as_slice() {
        [one] => one.path.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    let pictures: Vec<Source> = runs.iter().map(|run| Source::from_plan(&run.plan)).collect();
    check_out(&out, &pictures)?;
    let page = page(&runs, args, &place)?;
    write_atomic(&out, page.as_bytes())?;
    if args.how.json {
        let runs: Vec<_> = runs.iter().map(|run| &run.path).collect();
        say(&json!({ "out": out, "runs": runs, "bytes": page.len() }).to_string());
    } else {
        tell(&format!("{}: {:.1} MB, of {} run(s)", typed(&out), page.len() as f64 / 1e6, runs.len()));
    }
    Ok(())
}

fn page(runs: &[Run], args: &ReportArgs, place: &Place) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = escape(&names.join(" · "));
    let mut body = format!("<h1>{title}</h1>");
    if runs.len() == 1 {
        body.push_str(&chips(&runs[0]));
    } else {
        body.push_str(&side_by_side(runs));
    }
    body.push_str(&scores::section(runs));
    let curves = Curves::of(runs);
    body.push_str(&curves.section());
    body.push_str(&gauges(runs));
    let mut faults = Vec::new();
    for run in runs {
        if runs.len() > 1 {
            let _ = write!(body, "<h1>{}</h1>", escape(&run.name));
        }
        match views(run) {
            Ok(section) => body.push_str(&section),
            Err(error) => faults.push(format!("{}: no views: {error:#}", run.name)),
        }
        body.push_str(&scores::confusion(run));
        if run.ended {
            // A device that computes something else is no fault of the run.
            let sections = match Subject::open(&WeightsArgs::of_run(&run.path)) {
                Ok(subject) => encoder_sections(run, &subject.on(place.clone())?, args),
                Err(error) => Err(error),
            };
            match sections {
                Ok(sections) => body.push_str(&sections),
                Err(error) => faults.push(format!("{}: nothing of its pictures: {error:#}", run.name)),
            }
        }
        body.push_str(&again(run));
    }
    for fault in &faults {
        tell(&format!("note: left out of the report: {fault}"));
        let _ = write!(body, "<p class=\"soft\">Left out: {}</p>", escape(fault));
    }
    let data = json!({ "runs": names, "curves": curves.json() });
    // `</` would end the element, and `<!--` would let it go on.
    let data = data.to_string().replace('<', "\\u003c");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{STYLE}</style></head><body><main>\
         {body}</main><script type=\"application/json\" id=\"data\">{data}</script><script>{SCRIPT}</script>\
         </body></html>\n"
    ))
}

/// What ran, in short words.
fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let plan = &run.plan;
    let spec = &plan.spec;
    let steps = run.last["step"].as_u64().unwrap_or(0);
    let state =
        if run.ended { format!("{steps} steps") } else { format!("{steps} of {} steps", plan.total_steps) };
    let epochs = run.last["epoch"].as_f64().map_or(String::new(), |epoch| format!("{epoch:.1}"));
    vec![
        ("recipe", spec.preset.clone()),
        ("encoder", plan.encoder().name()),
        ("pictures", format!("{} of {}, {} pixels", plan.data.samples, plan.data.path, spec.policy.size)),
        ("length", state),
        ("epochs", epochs),
        ("batch", spec.batch.to_string()),
        ("seed", spec.seed.to_string()),
        ("start", plan.init.as_ref().map_or("random".into(), |_| "from weights".into())),
    ]
}

fn chips(run: &Run) -> String {
    let chips = facts(run).into_iter().filter(|(_, value)| !value.is_empty());
    let chips: Vec<String> =
        chips.map(|(name, value)| format!("<span>{name}: {}</span>", escape(&value))).collect();
    format!("<div class=\"chips\">{}</div>", chips.join(""))
}

fn side_by_side(runs: &[Run]) -> String {
    let mut out = String::from("<section><div class=\"scroll\"><table><tr><th></th>");
    for (i, run) in runs.iter().enumerate() {
        let _ = write!(out, "<th><span class=\"key c{}\">{}</span></th>", i % COLORS, escape(&run.name));
    }
    out.push_str("</tr>");
    let all: Vec<_> = runs.iter().map(facts).collect();
    for row in 0..all[0].len() {
        let _ = write!(out, "<tr><td>{}</td>", all[0][row].0);
        for facts in &all {
            let _ = write!(out, "<td>{}</td>", escape(&facts[row].1));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></section>");
    out
}

/// Charts: keys of metrics.jsonl, what they are called, and what is in view in any case.
const CHARTS: [(&str, &str, &[&str], Option<f64>); 9] = [
    ("loss", "loss (0 to 8)", &["loss"], Some(0.0)),
    ("cosine", "cosine of prediction and target", &["cosine", "constant_cosine"], None),
    ("z_std", "spread of projections (1 healthy, 0 collapsed)", &["z_std"], Some(0.0)),
    ("rank", "effective rank of projections", &["rank"], Some(1.0)),
    ("knn", "nearest neighbours on training pictures, while it ran", &["knn_top1", "probe_top1"], None),
    ("lr", "learning rate", &["lr"], Some(0.0)),
    ("tau", "tau", &["tau"], None),
    ("norms", "gradient norm", &["gradient_norm"], Some(0.0)),
    ("speed", "pictures a second", &["images_per_second"], Some(0.0)),
];

/// What `metrics.jsonl` of each run holds, by chart.
struct Curves(Vec<(usize, Vec<Series>)>);

impl Curves {
    fn of(runs: &[Run]) -> Self {
        let mut charts: Vec<(usize, Vec<Series>)> = (0..CHARTS.len()).map(|i| (i, Vec::new())).collect();
        for (nth, run) in runs.iter().enumerate() {
            let keys: Vec<(usize, &str)> = CHARTS
                .iter()
                .enumerate()
                .flat_map(|(chart, (_, _, keys, _))| keys.iter().map(move |key| (chart, *key)))
                .collect();
            let mut points: Vec<Vec<(f64, f64)>> = vec![Vec::new(); keys.len()];
            metrics(&run.path, |line| {
                let Some(step) = line["step"].as_f64() else { return };
                for ((_, key), points) in keys.iter().zip(&mut points) {
                    points.extend(line[*key].as_f64().map(|value| (step, value)));
                }
            });
            for ((chart, key), points) in keys.into_iter().zip(points) {
                if points.is_empty() {
                    continue;
                }
                let several = CHARTS[chart].2.len() > 1;
                let name = match (runs.len() > 1, several) {
                    (true, true) => format!("{} {key}", run.name),
                    (true, false) => run.name.clone(),
                    (false, _) => key.to_owned(),
                };
                let within = charts[chart].1.len();
                let color = if runs.len() > 1 { nth } else { within };
                charts[chart].1.push(Series { name, color: color % COLORS, points });
            }
        }
        Self(charts)
    }

    fn section(&self) -> String {
        let charts = self.0.iter().map(|(chart, series)| {
            let (id, title, _, floor) = CHARTS[*chart];
            lines(id, title, series, floor)
        });
        let charts: String = charts.collect();
        if charts.is_empty() {
            return "<section><h2>Curves</h2><p class=\"soft\">metrics.jsonl has no steps.</p></section>"
                .into();
        }
        format!(
            "<section><h2>Curves</h2><p class=\"soft\">By step.</p><div class=\"charts\">{charts}</div></section>"
        )
    }

    fn json(&self) -> Value {
        let of = |(chart, series): &(usize, Vec<Series>)| {
            let series: Vec<Value> = series
                .iter()
                .map(|line| json!({ "name": line.name, "points": chart::thinned(&line.points) }))
                .collect();
            (CHARTS[*chart].0.to_owned(), Value::from(series))
        };
        self.0.iter().map(of).collect::<serde_json::Map<_, _>>().into()
    }
}

/// How far from collapse the runs ended.
fn gauges(runs: &[Run]) -> String {
    let mut out = String::from("<section><h2>Collapse</h2><div class=\"gauges\">");
    for run in runs {
        let mut rank = None;
        metrics(&run.path, |line| rank = line["rank"].as_f64().or(rank));
        let of = |key: &str| run.last[key].as_f64();
        let gain = of("cosine").zip(of("constant_cosine")).map(|(cosine, constant)| cosine - constant);
        let gauges = [
            (
                "spread of projections",
                of("z_std"),
                0.1,
                "√d · std, 1 is healthy; below 0.1 all pictures are one point",
            ),
            ("effective rank", rank, 1.25, "below 1.25 projections lie on a line"),
            (
                "gain over a constant",
                gain,
                0.01,
                "cosine above that of one prediction for all; below 0.01 nothing is learned",
            ),
        ];
        for (name, value, least, meaning) in gauges {
            let Some(value) = value else { continue };
            let class = if value >= least { "good" } else { "bad" };
            let of_run = if runs.len() > 1 { format!(" · {}", escape(&run.name)) } else { String::new() };
            let _ = write!(
                out,
                "<div class=\"gauge {class}\">{name}{of_run}<b>{}</b><span class=\"soft\">{meaning}</span></div>",
                short(value)
            );
        }
    }
    out.push_str("</div></section>");
    out
}

fn views(run: &Run) -> Result<String> {
    let plan = &run.plan;
    let set = Source::from_plan(plan).open(&plan.data.split)?;
    let (_, png) = views_png(&set, &plan.policy()?, plan.spec.seed, plan.data.channels, VIEWS)?;
    Ok(format!(
        "<section><h2>Views</h2><p class=\"soft\">Pictures, and the two views of the first epoch.</p><div \
         class=\"scroll\"><img class=\"views\" alt=\"pictures and their views\" src=\"{}\"></div></section>",
        data_uri("image/png", &png)
    ))
}

fn encoder_sections(run: &Run, subject: &Subject, args: &ReportArgs) -> Result<String> {
    let source = Source::from_plan(&run.plan);
    let sections = || pictures::sections(subject, &source, args.points as usize, !args.how.no_cache);
    subject.place.guarded(sections)?
}

/// The commands that make the run and its scores once more.
fn again(run: &Run) -> String {
    let plan_path = run.path.join("run.toml");
    let folder = typed(&run.path);
    let mut commands = vec![format!("{CARGO} pretrain --config {} --out {folder}-again", typed(&plan_path))];
    commands.extend(run.scores.values().filter_map(|score| score["command"].as_str()).map(str::to_owned));
    commands.push(format!("{CARGO} report --run {folder}"));
    let plan = std::fs::read_to_string(&plan_path).unwrap_or_default();
    format!(
        "<section><h2>Again</h2><pre>{}</pre><details><summary>run.toml</summary><pre>{}</pre></details></section>",
        escape(&commands.join("\n")),
        escape(&plan)
    )
}
