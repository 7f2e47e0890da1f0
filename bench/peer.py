"""Counts the words of a file with another program's engine, once to warm up and then as often as asked. Prints a line of JSON for each
time: seconds of the query alone, words, and distinct words. Run by bench/words, in the environment that it makes.

All split at ASCII white space only, which is what the three can do alike, and keep case.
"""

import json
import sys
import time


def clickhouse(path, threads):
    import chdb

    query = f"""
        SELECT sum(n), count() FROM (
            SELECT arrayJoin(splitByWhitespace(line)) AS word, count() AS n FROM file('{path}', 'LineAsString') GROUP BY word
        ) SETTINGS max_threads = {threads}
    """
    return lambda: tuple(map(int, str(chdb.query(query, "TabSeparated")).split()))


def polars(path, threads):
    import os

    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    def query():
        # A separator that no text has, so that a row is a line.
        lines = pl.scan_csv(path, has_header=False, separator="\x01", quote_char=None, new_columns=["line"], schema={"line": pl.String})
        words = lines.select(pl.col("line").str.extract_all(r"[^\t-\r ]+").explode().alias("word")).drop_nulls()
        counts = words.group_by("word").len()
        found = counts.select(pl.col("len").sum().alias("words"), pl.len().alias("distinct")).collect(engine="streaming")
        return int(found["words"][0]), int(found["distinct"][0])

    return query


def spark(path, threads):
    from pyspark.sql import SparkSession, functions as f

    session = (
        SparkSession.builder.master(f"local[{threads}]").config("spark.driver.memory", "6g")
        .config("spark.sql.shuffle.partitions", threads).config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")

    def query():
        words = session.read.text(path).select(f.explode(f.split("value", r"[\t-\r ]+")).alias("word")).filter("word != ''")
        [row] = words.groupBy("word").count().agg(f.sum("count"), f.count("*")).collect()
        return int(row[0]), int(row[1])

    return query


def main():
    name, path, threads, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    query = {"clickhouse": clickhouse, "polars": polars, "spark": spark}[name](path, threads)
    # The driver says when: contenders take turns.
    for _ in range(runs):
        if not sys.stdin.readline():
            return
        before = time.perf_counter()
        words, distinct = query()
        print(json.dumps({"seconds": time.perf_counter() - before, "words": words, "distinct": distinct}), flush=True)


main()
