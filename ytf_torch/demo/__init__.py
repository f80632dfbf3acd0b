"""The data, triggers and BadNets of ytf-demo, none of which has to be downloaded by hand."""
