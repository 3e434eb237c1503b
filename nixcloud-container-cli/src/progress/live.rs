//! The live display of a terminal: drawn ten times a second, by a thread of its own, since Nix may say nothing for long.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::builder::styling::{AnsiColor, Effects, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nixcloud_container::{Cancel, Event};

use super::operation::{Operation, View};
use crate::screen::bottom::{Bottom, width};

/// What is done sooner is not drawn at all.
const QUICK: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(100);

/// From this width on there is room for a bar.
const WIDE: usize = 60;

/// The display of one operation. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Live {
    bottom: Bottom,
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    drawing: Mutex<Drawing>,
    ended: Condvar,
}

#[derive(Debug)]
struct Drawing {
    operation: Operation,
    lines: MultiProgress,
    head: ProgressBar,
    below: Vec<ProgressBar>,
    styles: Styles,
    count: (u64, u64),
    shown: bool,
    over: bool,
    cancel: Cancel,
}

struct Styles {
    plain: ProgressStyle,
    counted: ProgressStyle,
    barred: ProgressStyle,
    below: ProgressStyle,
}

impl Live {
    /// Begins a display at the bottom of the terminal.
    pub(super) fn new(bottom: &Bottom, coloured: bool, cancel: &Cancel) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let drawing = Drawing {
            operation: Operation::new(Instant::now()),
            head: lines.add(ProgressBar::no_length()),
            lines,
            below: Vec::new(),
            styles: Styles::new(coloured, unicode()),
            count: (0, 0),
            shown: false,
            over: false,
            cancel: cancel.clone(),
        };
        let shared = Arc::new(Shared { drawing: Mutex::new(drawing), ended: Condvar::new() });
        let (theirs, place) = (Arc::clone(&shared), bottom.clone());
        let ticker =
            std::thread::Builder::new().name("progress".into()).spawn(move || theirs.tick(&place)).ok();
        Self { bottom: bottom.clone(), shared, ticker }
    }

    /// Shows what is done where no event tells it.
    pub(super) fn doing(&self, what: &str) {
        self.shared.lock().operation.begin(what, Instant::now());
    }

    /// Takes an event in; the line that it leaves above the display, if any.
    pub(super) fn event(&self, event: &Event) -> Option<String> {
        let mut drawing = self.shared.lock();
        let said = drawing.operation.event(event, Instant::now());
        if drawing.shown && matches!(event, Event::Phase(_) | Event::Done { .. }) {
            drawing.draw(&self.bottom);
        }
        said
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.ended.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
        self.bottom.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Drawing> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, bottom: &Bottom) {
        let mut pause = QUICK;
        let mut drawing = self.lock();
        loop {
            let waited = self.ended.wait_timeout_while(drawing, pause, |drawing| !drawing.over);
            (drawing, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if drawing.over {
                return;
            }
            drawing.draw(bottom);
            pause = TICK;
        }
    }
}

impl Drawing {
    /// Draws what there is to see. Where there is nothing, the terminal is left alone: it may be somebody else's.
    fn draw(&mut self, bottom: &Bottom) {
        let width = usize::from(width());
        let Some(view) = self.operation.view(Instant::now(), width, self.cancel.is_cancelled()) else {
            if self.shown {
                bottom.clear();
                self.shown = false;
            }
            return;
        };
        if !self.shown {
            bottom.show(&self.lines);
            self.shown = true;
        }
        self.put(&view, width);
    }

    fn put(&mut self, view: &View, width: usize) {
        // A terminal of a few lines is not filled.
        for text in view.below.iter().skip(self.below.len()) {
            let bar = self.lines.add(ProgressBar::no_length().with_style(self.styles.below.clone()));
            bar.set_message(text.clone());
            self.below.push(bar);
        }
        while self.below.len() > view.below.len() {
            if let Some(bar) = self.below.pop() {
                self.lines.remove(&bar);
            }
        }
        // Each change draws: what is the same is not set anew.
        let say = |bar: &ProgressBar, text: String| {
            if bar.message() != text {
                bar.set_message(text);
            }
        };
        for (bar, text) in self.below.iter().zip(&view.below) {
            say(bar, text.replace('\t', " "));
        }
        let (style, prefix, message) = match view.count {
            None => (&self.styles.plain, String::new(), format!("{}  {}", view.head, view.time)),
            Some(_) if width < WIDE => (&self.styles.counted, view.head.clone(), view.time.clone()),
            Some(_) => (&self.styles.barred, view.head.clone(), view.time.clone()),
        };
        self.head.set_style(style.clone());
        if self.head.prefix() != prefix {
            self.head.set_prefix(prefix);
        }
        if let Some((done, expected)) = view.count.filter(|count| *count != self.count) {
            self.count = (done, expected);
            self.head.set_length(expected);
            self.head.set_position(done);
        }
        say(&self.head, message);
        self.head.tick();
    }
}

impl std::fmt::Debug for Styles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Styles").finish_non_exhaustive()
    }
}

impl Styles {
    fn new(coloured: bool, unicode: bool) -> Self {
        let (spins, bars) =
            if unicode { ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ", "━╸─") } else { ("|/-\\ ", "=>.") };
        let (bright, dim) = (AnsiColor::Cyan.on_default(), Style::new().effects(Effects::DIMMED));
        let paint = |style: Style, text: &str| {
            if coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
        };
        let (spinner, bar) = (paint(bright, "{spinner}"), paint(bright, "{bar:16}"));
        let style = |template: &str| {
            // The templates are ours: a broken one shows as no template at all.
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
                .tick_chars(spins)
                .progress_chars(bars)
        };
        Self {
            plain: style(&format!("{spinner} {{wide_msg}}")),
            counted: style(&format!("{spinner} {{prefix}} {{pos}}/{{len}}  {{wide_msg}}")),
            barred: style(&format!("{spinner} {{prefix}} {bar} {{pos}}/{{len}}  {{wide_msg}}")),
            below: style(&format!("  {}", paint(dim, "{wide_msg}"))),
        }
    }
}

/// Whether the user's locale has more than ASCII.
fn unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
