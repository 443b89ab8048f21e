"""What operators and the console ask: health, insight, the web page."""
