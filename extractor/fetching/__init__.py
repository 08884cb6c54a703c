"""From the publisher's listing of dumps to the files of one month in a folder, each with the sum that was published."""
