"""Tables as text: which separator a file has, and its rows column by column."""
