//! Puts layouts, style and icons into the program.

fn main() {
    glib_build_tools::compile_resources(&["data"], "data/dev.firezone.Gtk.gresource.xml", "firezone.gresource");
}
