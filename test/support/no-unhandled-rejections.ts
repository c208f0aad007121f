/** Imported for its effect: a rejection that nobody handles ends the test file, whatever tap makes of it. */
process.on('unhandledRejection', (error) => { throw error })
