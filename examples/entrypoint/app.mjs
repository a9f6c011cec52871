// Asks once and ends: started too early, it would fail.
const answer = await fetch('http://api:8080/');
if (!answer.ok) throw new Error(`the API says ${answer.status}`);
console.log(`parent ${process.ppid}, user ${process.getuid()}: ${await answer.text()}`);
